/* @{ title }@: see @{ name }@.h. C99 and libm; compile with -O3 (-march=native, -fopenmp). */
#include "@{ name }@.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#define OBSERVED @{ prefix }@_OBSERVED
#define ANSWERED @{ prefix }@_ANSWERED
#define AXES @{ prefix }@_AXES
#define BLOCK 32 /* cells along the last axis that go through the layers together */
#define ROWS @{ rows }@   /* outputs that are computed together */

typedef @{ real }@ real;
typedef @{ "double" if weighs else real }@ value; /* of fields; what decides gates is computed in double */
#define LARGEST_VALUE @{ "FLT_MAX" if real == "float" and not weighs else "DBL_MAX" }@

#ifdef __GNUC__ /* vectors of GCC, Clang and others; elsewhere plain loops */
#if defined(__AVX512F__)
typedef real lanes __attribute__((vector_size(64)));
#elif defined(__AVX__)
typedef real lanes __attribute__((vector_size(32)));
#else
typedef real lanes __attribute__((vector_size(16)));
#endif
#define LANES ((int)(sizeof(lanes) / sizeof(real)))
#endif

enum { NONE, RELU, GELU, SILU, TANH, GLU, BILINEAR };
typedef struct {
  int inputs, outputs, activation;
  const real *weight; /* [output / ROWS][input][output % ROWS] */
  const real *bias;
} layer;
typedef struct {
  int from, into, taps, first, count; /* fields; cells gathered; layers */
  int aligned, place;                 /* turned cells; first of the places of its inputs */
  const int (*offset)[3];
} pass;

/*% for key, value in defines.items() %*/
#define @{ key }@ @{ value }@
/*% endfor %*/
/*% for array in arrays %*/
static const @{ array.type }@ @{ array.name }@@{ array.shape }@ = {
@{ array.text }@};
/*% endfor %*/

static const layer LAYERS[] = {
/*% for l in layers %*/
    {@{ l.inputs }@, @{ l.outputs }@, @{ l.activation }@, @{ l.weight }@, @{ l.bias }@},
/*% endfor %*/
};
static const pass PASSES[] = {
/*% for p in passes %*/
    {@{ p.source }@, @{ p.into }@, @{ p.taps }@, @{ p.first }@, @{ p.count }@, @{ p.aligned }@, @{ p.place }@, @{ p.offset }@},
/*% endfor %*/
};
enum { PASS_COUNT = @{ passes | length }@, FIELDS = @{ fields | length }@, WIDEST = @{ widest }@, PLACES = @{ places }@, ANSWER = -1, SPREAD = @{ spread_field }@ };
static const int CHANNELS[FIELDS] = {/*% for f in fields %*/@{ f.channels }@/*% if not loop.last %*/, /*% endif %*//*% endfor %*/};
/*% if stencil %*/
enum { SHIFTS = @{ shifts }@ };
static const int ACTS_ON[ANSWERED] = {/*% for i in acts_on %*/@{ i }@/*% if not loop.last %*/, /*% endif %*//*% endfor %*/};
/*% endif %*/
#define BOUND @{ bound }@
/*% if interfaces %*/
#define UNCORRECTED(a) OPTIMAL[(a) % (ANSWERED / 2)] /* logits of the linear scheme of highest order */
/*% else %*/
#define UNCORRECTED(a) ((void)(a), 0.0)
/*% endif %*/
/*% if has_range %*/
static const double LOWEST[OBSERVED] = {@{ lowest }@};
static const double HIGHEST[OBSERVED] = {@{ highest }@};
/*% endif %*/

/*% include "fields.c" %*/

/*% include "layers.c" %*/

/*% include "answers.c" %*/

/*% if noise %*/
static real softplus(real x) { return (x > 0 ? x : 0) + (real)log1p(exp(-fabs((double)x))); }

/*% endif %*/
/* One pass over all cells. Returns in how many of them the answer is not finite; they are not corrected. */
static size_t run(@{ name }@_closure *h, int number, const void *const *noise, void *const *action, int single) {
  const pass *p = &PASSES[number];
  const int last = p->into == ANSWER;
  ptrdiff_t begin[3] = {0, 0, 0}, end[3] = {h->n[0], h->n[1], h->n[2]};
  if (!last)
    for (int a = 0; a < 3; a++) begin[a] -= h->extra_low[p->into][a], end[a] += h->extra_high[p->into][a];
  const ptrdiff_t wide = end[1] - begin[1], blocks = (end[2] - begin[2] + BLOCK - 1) / BLOCK;
  const ptrdiff_t tasks = (end[0] - begin[0]) * wide * blocks;
  size_t wrong = 0;
#ifdef _OPENMP
#pragma omp parallel for schedule(static) num_threads(h->threads) reduction(+ : wrong)
#endif
  for (ptrdiff_t task = 0; task < tasks; task++) {
#ifdef _OPENMP
    real *one = h->scratch + (size_t)omp_get_thread_num() * h->scratch_size;
#else
    real *one = h->scratch;
#endif
    real *other = one + WIDEST * BLOCK;
    const ptrdiff_t k = begin[2] + task % blocks * BLOCK, i = begin[0] + task / blocks / wide;
    const ptrdiff_t j = begin[1] + task / blocks % wide;
    const int count = (int)(end[2] - k < BLOCK ? end[2] - k : BLOCK);
    const field *from = &h->fields[p->from];
    double found[ANSWERED][BLOCK];
/*% if weighs %*/
    weigh(h, from->data + at(from, i, j, k), from->plane, count, one, other, found);
    (void)last, (void)noise;
/*% else %*/
/*% if aligned %*/
    if (p->aligned) { /* one network for each component that is acted on */
      const value *cell = from->data + at(from, i, j, k);
      const value *u = cell + @{ velocity[0] }@ * from->plane, *v = cell + @{ velocity[1] }@ * from->plane;
      int turn[BLOCK];
      turns_of(u, v, turn);
      for (int a = 0; a < ANSWERED; a++) {
        const value *q = cell + ACTS_ON[a] * from->plane;
        gather(h, u, v, q, turn, count, one);
        weighed(h, u, v, q, turn, count, network(h, p, one, h->rows, one, other), found[a]);
      }
    }
/*% endif %*/
    if (!p->aligned) {
      const real *out = network(h, p, from->data + at(from, i, j, k), h->place + p->place, one, other);
      if (!last) {
        const field *into = &h->fields[p->into];
        real *to = into->data + at(into, i, j, k);
        for (int c = 0; c < CHANNELS[p->into]; c++, to += into->plane, out += BLOCK) {
/*% if noise %*/
          if (p->into == SPREAD) {
            for (int b = 0; b < count; b++) to[b] = softplus(out[b]) + (real)1e-6;
            continue;
          }
/*% endif %*/
          memcpy(to, out, (size_t)count * sizeof(real));
        }
        continue;
      }
/*% if stencil and not aligned %*/
      const field *f = &h->fields[0];
      const value *cell = f->data + at(f, i, j, k);
/*% if by_speed %*/
      const field *relative = &h->fields[1];
      const value *speed = relative->data + (OBSERVED + 1) * relative->plane + at(relative, i, j, k);
/*% endif %*/
      for (int a = 0; a < ANSWERED; a++)
        weighed(h, a, cell + ACTS_ON[a] * f->plane, /*% if by_speed %*/speed, /*% if diffusivity is not none %*/cell + @{ diffusivity }@ * f->plane, /*% endif %*//*% endif %*/out, found[a]);
/*% else %*/
      for (int a = 0; a < ANSWERED; a++)
        for (int b = 0; b < BLOCK; b++) found[a][b] = @{ factor }@ * (double)out[a * BLOCK + b];
/*% endif %*/
    }
/*% if noise %*/
    if (noise) {
      const field *f = &h->fields[SPREAD];
      for (int a = 0; a < ANSWERED; a++) {
        const real *std = f->data + a * f->plane + at(f, i, j, k);
        for (int b = 0; b < count; b++) {
          const ptrdiff_t place = i * h->out_stride[0] + j * h->out_stride[1] + (k + b) * h->out_stride[2];
          found[a][b] += (double)std[b] * loaded(noise[a], place, single);
        }
      }
    }
/*% else %*/
    (void)noise;
/*% endif %*/
/*% endif %*/
    for (int b = 0; b < count; b++) wrong += answered(h, found, b, i, j, k + b, action, single);
  }
  if (!last && p->into != SPREAD) fill_ghosts(h, p->into);
  return wrong;
}

/* No correction anywhere. */
static void leave(const @{ name }@_closure *h, void *const *action, int single) {
  for (ptrdiff_t i = 0; i < h->n[0]; i++)
    for (ptrdiff_t j = 0; j < h->n[1]; j++)
      for (ptrdiff_t k = 0; k < h->n[2]; k++)
        for (int a = 0; a < ANSWERED; a++)
          stored(action[a], i * h->out_stride[0] + j * h->out_stride[1] + k * h->out_stride[2], single, UNCORRECTED(a));
}

static int call(@{ name }@_closure *h, const void *const *observation, const void *const *noise, void *const *action,
                int single) {
  if (!h || !observation || !action) return @{ prefix }@_BAD_ARGUMENT;
  for (int c = 0; c < OBSERVED; c++)
    if (!observation[c]) return @{ prefix }@_BAD_ARGUMENT;
  for (int a = 0; a < ANSWERED; a++)
    if (!action[a] || (noise && !noise[a])) return @{ prefix }@_BAD_ARGUMENT;
  if (!prepare(h, observation, single)) {
    leave(h, action, single);
    return @{ prefix }@_NOT_FINITE;
  }
/*% if by_speed %*/
  make_relative(h);
/*% endif %*/
  size_t wrong = 0;
  for (int p = 0; p < PASS_COUNT; p++)
    if (PASSES[p].into != SPREAD || SPREAD < 0 || noise) wrong += run(h, p, noise, action, single);
  if (wrong && h->guard == @{ prefix }@_GUARD_OFF) {
    leave(h, action, single);
    return @{ prefix }@_NOT_FINITE;
  }
  h->outside_now += wrong, h->outside_all += wrong;
  return @{ prefix }@_OK;
}

int @{ name }@_init(@{ name }@_closure **closure, const @{ name }@_grid *grid) {
  if (!closure || !grid) return @{ prefix }@_BAD_ARGUMENT;
  *closure = NULL;
  double cells = 1;
  for (int a = 0; a < AXES; a++) {
    const int low = grid->low[a], high = grid->high[a];
    if (grid->n[a] < 1 || grid->n[a] > (size_t)1 << 26 || low < 0 || low > 2 || high < 0 || high > 2 ||
        (low == @{ prefix }@_PERIODIC) != (high == @{ prefix }@_PERIODIC))
      return @{ prefix }@_BAD_GRID;
    cells *= (double)grid->n[a] + 2 * @{ prefix }@_HALO;
  }
  if (cells > 1e12) return @{ prefix }@_BAD_GRID;
  @{ name }@_closure *h = calloc(1, sizeof *h);
  if (!h) return @{ prefix }@_NO_MEMORY;
  const int first = 3 - AXES; /* axes of one cell come first */
  int given = 0, out_given = 0;
  for (int a = 0; a < AXES; a++) given |= grid->stride[a] != 0, out_given |= grid->out_stride[a] != 0;
  ptrdiff_t pitch = 1;
  for (int a = 2; a >= 0; a--) {
    const int there = a >= first;
    h->n[a] = there ? (ptrdiff_t)grid->n[a - first] : 1;
    h->low[a] = there ? grid->low[a - first] : @{ prefix }@_PERIODIC;
    h->high[a] = there ? grid->high[a - first] : @{ prefix }@_PERIODIC;
    h->stride[a] = !there ? 0 : given ? grid->stride[a - first] : pitch;
    h->out_stride[a] = !there ? 0 : out_given ? grid->out_stride[a - first] : pitch;
    pitch *= h->n[a];
  }
  /* How far beyond the grid each field is computed (at ends with a halo) or filled (at others), from the last pass on. */
  for (int f = 0; f < FIELDS; f++)
    for (int a = 0; a < 3; a++) h->fields[f].low[a] = h->fields[f].high[a] = 0;
#define NEED(f, a, extra_l, extra_h, reach)                                              \
  do {                                                                                   \
    const int l_ = (extra_l) + (reach), h_ = (extra_h) + (reach);                        \
    if (l_ > h->fields[f].low[a]) h->fields[f].low[a] = l_;                              \
    if (h_ > h->fields[f].high[a]) h->fields[f].high[a] = h_;                            \
  } while (0)
  for (int a = 0; a < 3; a++) {
    NEED(0, a, 0, 0, ANSWER_REACH[a]);
    for (int p = PASS_COUNT - 1; p >= 0; p--) {
      const int into = PASSES[p].into;
      const int halo_l = h->low[a] == @{ prefix }@_HALO_CELLS, halo_h = h->high[a] == @{ prefix }@_HALO_CELLS;
      const int extra_l = into >= 0 && halo_l ? h->fields[into].low[a] : 0;
      const int extra_h = into >= 0 && halo_h ? h->fields[into].high[a] : 0;
      NEED(PASSES[p].from, a, extra_l, extra_h, PASS_REACH[p][a]);
    }
/*% if by_speed %*/
    NEED(0, a, h->low[a] == @{ prefix }@_HALO_CELLS ? h->fields[1].low[a] : 0,
         h->high[a] == @{ prefix }@_HALO_CELLS ? h->fields[1].high[a] : 0, a >= first);
/*% endif %*/
    for (int f = 0; f < FIELDS; f++) {
      h->extra_low[f][a] = h->low[a] == @{ prefix }@_HALO_CELLS ? h->fields[f].low[a] : 0;
      h->extra_high[f][a] = h->high[a] == @{ prefix }@_HALO_CELLS ? h->fields[f].high[a] : 0;
    }
  }
  size_t total = 0;
  for (int f = 0; f < FIELDS; f++) {
    field *one = &h->fields[f];
    ptrdiff_t size = 1;
    for (int a = 2; a >= 0; a--) one->pitch[a] = size, size *= h->n[a] + one->low[a] + one->high[a];
    one->plane = size;
    one->size = (size_t)size * (size_t)CHANNELS[f] + BLOCK; /* the last block reads beyond its row */
    total += one->size;
  }
  for (int i = 0; i < WIDEST; i++) h->rows[i] = (ptrdiff_t)i * BLOCK;
  for (int p = 0; p < PASS_COUNT; p++) {
    const field *f = &h->fields[PASSES[p].from];
    const int channels = LAYERS[PASSES[p].first].inputs / PASSES[p].taps;
    for (int t = 0; t < PASSES[p].taps && !PASSES[p].aligned; t++)
      for (int c = 0; c < channels; c++)
        h->place[PASSES[p].place + t * channels + c] = c * f->plane + shifted(f, PASSES[p].offset[t]);
  }
/*% if aligned %*/
  for (int t = 0; t < ALIGNED_TAPS; t++)
    for (int turn = 0; turn < 8; turn++)
      h->shift[8 * t + turn] = (int)shifted(&h->fields[0], STENCIL[turn * ALIGNED_TAPS + t]);
/*% elif stencil %*/
  for (int t = 0; t < STENCIL_TAPS; t++) h->shift[t] = shifted(&h->fields[0], STENCIL[t]);
/*% endif %*/
#ifdef _OPENMP
  h->threads = omp_get_max_threads();
#else
  h->threads = 1;
#endif
  h->scratch_size = 2 * (size_t)BLOCK * WIDEST;
  h->memory = calloc(total, sizeof(value));
  h->scratch = calloc((size_t)h->threads * h->scratch_size, sizeof(real));
  h->outside = calloc((size_t)(h->n[0] * h->n[1] * h->n[2]), 1);
  if (!h->memory || !h->scratch || !h->outside) {
    @{ name }@_free(h);
    return @{ prefix }@_NO_MEMORY;
  }
  total = 0;
  for (int f = 0; f < FIELDS; f++) h->fields[f].data = h->memory + total, total += h->fields[f].size;
  *closure = h;
  return @{ prefix }@_OK;
}

void @{ name }@_free(@{ name }@_closure *closure) {
  if (!closure) return;
  free(closure->memory), free(closure->scratch), free(closure->outside), free(closure);
}

int @{ name }@_apply(@{ name }@_closure *closure, const double *const observation[OBSERVED],
                    double *const action[ANSWERED]) {
  return call(closure, (const void *const *)observation, NULL, (void *const *)action, 0);
}

int @{ name }@_apply_float(@{ name }@_closure *closure, const float *const observation[OBSERVED],
                          float *const action[ANSWERED]) {
  return call(closure, (const void *const *)observation, NULL, (void *const *)action, 1);
}

int @{ name }@_apply_noise(@{ name }@_closure *closure, const double *const observation[OBSERVED],
                          const double *const noise[ANSWERED], double *const action[ANSWERED]) {
  if (!noise) return @{ prefix }@_BAD_ARGUMENT;
  return call(closure, (const void *const *)observation, (const void *const *)noise, (void *const *)action, 0);
}

int @{ name }@_guard(@{ name }@_closure *closure, int guard) {
  if (!closure || guard < @{ prefix }@_GUARD_OFF || guard > @{ prefix }@_GUARD_ZERO) return @{ prefix }@_BAD_ARGUMENT;
  if (guard != @{ prefix }@_GUARD_OFF && !@{ prefix }@_RANGE) return @{ prefix }@_NO_RANGE;
  closure->guard = guard;
  return @{ prefix }@_OK;
}

size_t @{ name }@_outside(const @{ name }@_closure *closure) { return closure ? closure->outside_now : 0; }
size_t @{ name }@_outside_total(const @{ name }@_closure *closure) { return closure ? closure->outside_all : 0; }

const char *@{ name }@_message(int status) {
  static const char *const messages[] = {"no error", "a null pointer", "a grid that is not usable", "not enough memory",
                                         "the observation, or the answer to it, is not finite: no correction",
                                         "the range of the training data is not known: no guard"};
  return status >= 0 && status <= @{ prefix }@_NO_RANGE ? messages[status] : "unknown status";
}
