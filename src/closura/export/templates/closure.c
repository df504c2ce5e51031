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
#define BLOCK 32 /* cells that go through the layers together */
#define TILE 16  /* outputs that are computed together */
#define ROWS 4

typedef @{ real }@ real;
#define LARGEST_REAL @{ "FLT_MAX" if real == "float" else "DBL_MAX" }@

enum { NONE, RELU, GELU, SILU, TANH, GLU, BILINEAR };
typedef struct {
  int inputs, outputs, activation;
  const real *weight; /* [tile of outputs][input][output in the tile] */
  const real *bias;
} layer;
typedef struct {
  int from, into, taps, first, count; /* fields; cells gathered; layers */
  int aligned;
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
    {@{ p.source }@, @{ p.into }@, @{ p.taps }@, @{ p.first }@, @{ p.count }@, @{ p.aligned }@, @{ p.offset }@},
/*% endfor %*/
};
enum { PASS_COUNT = @{ passes | length }@, FIELDS = @{ fields | length }@, WIDEST = @{ widest }@, ANSWER = -1, SPREAD = @{ spread_field }@ };
static const int CHANNELS[FIELDS] = {/*% for f in fields %*/@{ f.channels }@/*% if not loop.last %*/, /*% endif %*//*% endfor %*/};
/*% if stencil %*/
static const int ACTS_ON[ANSWERED] = {/*% for i in acts_on %*/@{ i }@/*% if not loop.last %*/, /*% endif %*//*% endfor %*/};
/*% endif %*/
#define BOUND @{ bound }@
/*% if weighs %*/
#define UNCORRECTED(a) OPTIMAL[(a) % (ANSWERED / 2)] /* logits of the linear scheme of highest order */
/*% else %*/
#define UNCORRECTED(a) ((void)(a), 0.0)
/*% endif %*/
/*% if has_range %*/
static const double LOWEST[OBSERVED] = {@{ lowest }@};
static const double HIGHEST[OBSERVED] = {@{ highest }@};
/*% endif %*/

/* A field on the grid, channels last, with ghost cells. Grids with fewer than three axes have axes of one cell first. */
typedef struct {
  real *data;
  int low[3], high[3];
  ptrdiff_t pitch[3];
  size_t size;
} field;

struct @{ name }@_closure {
  ptrdiff_t n[3], stride[3], out_stride[3];
  int low[3], high[3];
  field fields[FIELDS];
  int extra_low[FIELDS][3], extra_high[FIELDS][3]; /* cells beyond the grid in which a field is computed */
  real *memory, *scratch;
  unsigned char *outside;
  size_t scratch_size, outside_now, outside_all;
  int threads, guard;
};

static ptrdiff_t at(const field *f, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k) {
  return (i + f->low[0]) * f->pitch[0] + (j + f->low[1]) * f->pitch[1] + (k + f->low[2]) * f->pitch[2];
}

static real activated(int kind, real x) {
  switch (kind) {
    case RELU: return x > 0 ? x : 0;
    case GELU: return (real)0.5 * x * (1 + (real)tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    case SILU: return x / (1 + (real)exp(-x));
    case TANH: return (real)tanh(x);
    default: return x;
  }
}

/* One layer for count cells: in [cell][inputs], out [cell][pitch], pitch a multiple of TILE. */
static void dense(const layer *l, int count, const real *in, ptrdiff_t in_pitch, real *out, ptrdiff_t pitch) {
  const int tiles = (l->outputs + TILE - 1) / TILE;
  for (int tile = 0; tile < tiles; tile++) {
    const real *weight = l->weight + (ptrdiff_t)tile * l->inputs * TILE;
    for (int c = 0; c < count; c += ROWS) { /* cells beyond count are scratch */
      real sum[ROWS][TILE];
      for (int r = 0; r < ROWS; r++)
        for (int t = 0; t < TILE; t++) sum[r][t] = l->bias[tile * TILE + t];
      for (int i = 0; i < l->inputs; i++)
        for (int r = 0; r < ROWS; r++) {
          const real x = in[(c + r) * in_pitch + i];
          for (int t = 0; t < TILE; t++) sum[r][t] += x * weight[(ptrdiff_t)i * TILE + t];
        }
      for (int r = 0; r < ROWS; r++) memcpy(out + (c + r) * pitch + tile * TILE, sum[r], sizeof sum[r]);
    }
  }
}

static int activate(const layer *l, int count, real *out, ptrdiff_t pitch) {
  const int half = l->outputs / 2;
  for (int c = 0; c < count; c++) {
    real *row = out + c * pitch;
    if (l->activation == GLU)
      for (int o = 0; o < half; o++) row[o] *= 1 / (1 + (real)exp(-row[half + o]));
    else if (l->activation == BILINEAR)
      for (int o = 0; o < half; o++) row[o] *= row[half + o];
    else if (l->activation == RELU)
      for (int o = 0; o < l->outputs; o++) row[o] = row[o] > 0 ? row[o] : 0;
    else if (l->activation != NONE)
      for (int o = 0; o < l->outputs; o++) row[o] = activated(l->activation, row[o]);
  }
  return l->activation >= GLU ? half : l->outputs;
}

/* All layers of a pass; the result is in one of the two halves of the scratch space, which is returned. */
static real *network(const pass *p, int count, real *in, real *other) {
  ptrdiff_t in_pitch = WIDEST;
  for (int i = 0; i < p->count; i++) {
    const layer *l = &LAYERS[p->first + i];
    dense(l, count, in, in_pitch, other, WIDEST);
    activate(l, count, other, WIDEST);
    real *swap = in;
    in = other, other = swap;
  }
  return in;
}

/*% if noise %*/
static real softplus(real x) { return (x > 0 ? x : 0) + (real)log1p(exp(-fabs((double)x))); }
/*% endif %*/

static double loaded(const void *array, ptrdiff_t place, int single) {
  return single ? (double)((const float *)array)[place] : ((const double *)array)[place];
}

static void stored(void *array, ptrdiff_t place, int single, double value) {
  if (single) ((float *)array)[place] = (float)(value > FLT_MAX ? FLT_MAX : value < -FLT_MAX ? -FLT_MAX : value);
  else ((double *)array)[place] = value;
}

/* By its bits: -ffast-math takes isfinite away. */
static int is_finite(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (bits >> 52 & 0x7ff) != 0x7ff;
}

static double clipped(double x) { return x > BOUND ? BOUND : x < -BOUND ? -BOUND : x; }

/* Ghost cells at the ends without a halo: axis after axis, so that corners come from both. */
static void fill_ghosts(const @{ name }@_closure *h, int number) {
  const field *f = &h->fields[number];
  const int channels = CHANNELS[number];
  for (int axis = 0; axis < 3; axis++) {
    ptrdiff_t begin[3], end[3];
    for (int a = 0; a < 3; a++) {
      const int full = a < axis;
      begin[a] = full ? -f->low[a] : -h->extra_low[number][a];
      end[a] = h->n[a] + (full ? f->high[a] : h->extra_high[number][a]);
    }
    for (int side = 0; side < 2; side++) {
      const int kind = side ? h->high[axis] : h->low[axis];
      if (kind == @{ prefix }@_HALO_CELLS) continue;
      const ptrdiff_t ghosts = side ? f->high[axis] : f->low[axis], n = h->n[axis];
      for (ptrdiff_t g = 0; g < ghosts; g++) {
        const ptrdiff_t to = side ? n + g : -1 - g;
        const ptrdiff_t from = kind == @{ prefix }@_PERIODIC ? ((to % n) + n) % n : side ? n - 1 : 0;
        ptrdiff_t low[3] = {begin[0], begin[1], begin[2]}, high[3] = {end[0], end[1], end[2]};
        low[axis] = to, high[axis] = to + 1;
        const ptrdiff_t back = (from - to) * f->pitch[axis];
        for (ptrdiff_t i = low[0]; i < high[0]; i++)
          for (ptrdiff_t j = low[1]; j < high[1]; j++)
            for (ptrdiff_t k = low[2]; k < high[2]; k++) {
              real *cell = f->data + at(f, i, j, k);
              memcpy(cell, cell + back, (size_t)channels * sizeof(real));
            }
      }
    }
  }
}

/* The observation as field 0. Returns whether all of it is finite. */
static int prepare(@{ name }@_closure *h, const void *const *observation, int single) {
  const field *f = &h->fields[0];
  int finite = 1;
  h->outside_now = 0;
  if (h->guard != @{ prefix }@_GUARD_OFF) memset(h->outside, 0, (size_t)(h->n[0] * h->n[1] * h->n[2]));
  for (ptrdiff_t i = -h->extra_low[0][0]; i < h->n[0] + h->extra_high[0][0]; i++)
    for (ptrdiff_t j = -h->extra_low[0][1]; j < h->n[1] + h->extra_high[0][1]; j++)
      for (ptrdiff_t k = -h->extra_low[0][2]; k < h->n[2] + h->extra_high[0][2]; k++) {
        real *cell = f->data + at(f, i, j, k);
        const ptrdiff_t place = i * h->stride[0] + j * h->stride[1] + k * h->stride[2];
        int outside = 0;
        for (int c = 0; c < OBSERVED; c++) {
          double value = loaded(observation[c], place, single);
          if (!is_finite(value) || value > LARGEST_REAL || value < -LARGEST_REAL) finite = 0, outside = 1, value = 0;
/*% if has_range %*/
          if (h->guard != @{ prefix }@_GUARD_OFF && !(value >= LOWEST[c] && value <= HIGHEST[c])) {
            outside = 1;
            value = value > HIGHEST[c] ? HIGHEST[c] : LOWEST[c];
          }
/*% endif %*/
          cell[c] = (real)value;
        }
        const int inside = i >= 0 && i < h->n[0] && j >= 0 && j < h->n[1] && k >= 0 && k < h->n[2];
        if (outside && inside && h->guard != @{ prefix }@_GUARD_OFF) {
          h->outside[(i * h->n[1] + j) * h->n[2] + k] = 1;
          h->outside_now++;
        }
      }
  h->outside_all += h->outside_now;
  fill_ghosts(h, 0);
  return finite || h->guard != @{ prefix }@_GUARD_OFF;
}

/*% if by_speed %*/
/* Sum of the absolute velocities, averaged over the cell and its neighbours (closures/speed.py). */
static real local_speed(const field *f, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k) {
  static const int velocity[] = {@{ velocity | join(", ") }@};
  const int reach[3] = {AXES > 2, AXES > 1, 1};
  double sum = 0;
  for (int a = -reach[0]; a <= reach[0]; a++)
    for (int b = -reach[1]; b <= reach[1]; b++)
      for (int c = -1; c <= 1; c++) {
        const real *cell = f->data + at(f, i + a, j + b, k + c);
        for (int v = 0; v < @{ velocity | length }@; v++) sum += fabs((double)cell[velocity[v]]);
      }
  return (real)(sum / ((2 * reach[0] + 1) * (2 * reach[1] + 1) * 3) + @{ smallest_speed }@);
}

/* Field 1: velocities in units of the local speed, a diffusivity's logarithm, and the speed's logarithm last. */
static void make_relative(@{ name }@_closure *h) {
  const field *from = &h->fields[0], *f = &h->fields[1];
  for (ptrdiff_t i = -h->extra_low[1][0]; i < h->n[0] + h->extra_high[1][0]; i++)
    for (ptrdiff_t j = -h->extra_low[1][1]; j < h->n[1] + h->extra_high[1][1]; j++)
      for (ptrdiff_t k = -h->extra_low[1][2]; k < h->n[2] + h->extra_high[1][2]; k++) {
        const real *cell = from->data + at(from, i, j, k), speed = local_speed(from, i, j, k);
        real *to = f->data + at(f, i, j, k);
        memcpy(to, cell, OBSERVED * sizeof(real));
/*% for v in velocity %*/
        to[@{ v }@] /= speed;
/*% endfor %*/
/*% if diffusivity is not none %*/
        to[@{ diffusivity }@] = (real)log(to[@{ diffusivity }@]);
/*% endif %*/
        to[OBSERVED] = (real)log(speed);
      }
  fill_ghosts(h, 1);
}
/*% endif %*/

/*% if aligned %*/
/* The turn of a cell, by its velocity: 0 to 7 (closures/aligned.py). */
static int turn_of(const real *cell) {
  const real u = cell[@{ velocity[0] }@], v = cell[@{ velocity[1] }@];
  return 4 * (fabs((double)v) > fabs((double)u)) + 2 * (u < 0) + (v < 0);
}
/*% endif %*/

/*% if guided %*/
/* Logits of both sides of one interface from the network of one side (closures/weights.py). */
static double smoothness(const double *stencil, double *beta) {
  double steps[2 * SUBS - 2], tau = 0, least, most;
  for (int j = 0; j < 2 * SUBS - 2; j++) steps[j] = stencil[j + 1] - stencil[j];
  for (int k = 0; k < SUBS; k++) {
    beta[k] = 0;
    for (int i = 0; i < SUBS - 1; i++)
      for (int j = 0; j < SUBS - 1; j++) beta[k] += FORMS[k][i][j] * steps[k + i] * steps[k + j];
    if (beta[k] < 0) beta[k] = 0;
    tau += TAU[k] * beta[k];
  }
  tau = fabs(tau), least = most = beta[0];
  for (int k = 1; k < SUBS; k++) least = beta[k] < least ? beta[k] : least, most = beta[k] > most ? beta[k] : most;
  return log1p(tau / (least + TINY)) - log1p(tau / (most + TINY));
}

static void guided(const double *cell, real *in, real *other, double *logits) {
  double beta[2][SUBS], contrast[2], rough[2][SUBS], share[2] = {1, 1};
  for (int s = 0; s < 2; s++) {
    double mean = 0;
    contrast[s] = smoothness(cell + s * (2 * SUBS - 1), beta[s]);
    for (int k = 0; k < SUBS; k++) mean += beta[s][k] / SUBS;
    for (int k = 0; k < SUBS; k++) rough[s][k] = POWER * log(beta[s][k] / (mean + TINY) + SOFTENING);
    if (SIZES) {
      const double size = cell[2 * (2 * SUBS - 1) + s];
      share[s] = size * size / (size * size + (1 - size) * (1 - size));
    }
  }
  for (int s = 0; s < 2; s++) {
    const double log_c = share[s] * contrast[s] + (1 - share[s]) * contrast[1 - s];
    double gate = (log_c - log(CLOSED)) / log(OPENED / CLOSED);
    gate = gate < 0 ? 0 : gate > 1 ? 1 : gate;
    gate = gate * gate * (3 - 2 * gate);
    for (int sign = 0; sign < 1 + EVEN; sign++) {
      real *row = in + sign * WIDEST;
      int at_input = 0;
      for (int side = 0; side < 2; side++)
        for (int j = 0; j < 2 * SUBS - 1; j++) {
          const double value = cell[(side ? 1 - s : s) * (2 * SUBS - 1) + j];
          row[at_input++] = (real)(sign ? -value : value);
        }
      if (SIZES) row[at_input++] = (real)cell[2 * (2 * SUBS - 1) + s];
      for (int k = 0; k < SUBS; k++) row[at_input++] = (real)rough[s][k];
    }
    const real *out = network(&PASSES[0], 1 + EVEN, in, other);
    for (int k = 0; k < SUBS; k++) {
      double learned = EVEN ? ((double)out[k] + (double)out[WIDEST + k]) / 2 : (double)out[k];
      if (LARGEST > 0) learned = LARGEST * tanh(learned / LARGEST);
      logits[s * SUBS + k] = OPTIMAL[k] + gate * (learned - rough[s][k]);
    }
  }
}
/*% endif %*/

/*% if not guided %*/
/* What the last pass says of one cell: actions in the units of the simulation, not yet clipped. */
static void answer(const @{ name }@_closure *h, const real *out, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k, double *action) {
  const field *f = &h->fields[0];
/*% if stencil %*/
  const real *cell = f->data + at(f, i, j, k);
  double factor = @{ factor }@;
/*% if aligned %*/
  const double u = fabs((double)cell[@{ velocity[0] }@]), v = fabs((double)cell[@{ velocity[1] }@]);
  factor *= u + v + @{ smallest_speed }@;
  const int turn = turn_of(cell);
/*% endif %*/
/*% if by_speed %*/
  const real speed = local_speed(f, i, j, k);
  const real constant = /*% if diffusivity is none %*/1/*% else %*/cell[@{ diffusivity }@]/*% endif %*/;
/*% endif %*/
  for (int a = 0; a < ANSWERED; a++) {
    double sum = 0;
    for (int t = 0; t < STENCIL_TAPS; t++) {
/*% if aligned %*/
      const int *offset = STENCIL[turn * ALIGNED_TAPS + t];
      const double weight = out[a * WIDEST + t];
/*% else %*/
      const int *offset = STENCIL[t];
      double weight = out[a * STENCIL_TAPS + t];
/*% if by_speed %*/
      weight = weight * speed + constant * CONSTANT[a * STENCIL_TAPS + t];
/*% endif %*/
/*% endif %*/
      const real *there = f->data + at(f, i + offset[0], j + offset[1], k + offset[2]);
      sum += weight * ((double)there[ACTS_ON[a]] - (double)cell[ACTS_ON[a]]);
    }
    action[a] = factor * sum;
  }
/*% else %*/
  (void)f, (void)i, (void)j, (void)k;
  for (int a = 0; a < ANSWERED; a++) action[a] = @{ factor }@ * (double)out[a];
/*% endif %*/
}

static void gather(const @{ name }@_closure *h, const pass *p, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k, real *row) {
  const field *f = &h->fields[p->from];
  const int channels = CHANNELS[p->from];
  const real *cell = f->data + at(f, i, j, k);
/*% if aligned %*/
  if (p->aligned) { /* one row for each component that is acted on */
    const double u = fabs((double)cell[@{ velocity[0] }@]), v = fabs((double)cell[@{ velocity[1] }@]);
    const double fast = u > v ? u : v, slow = u > v ? v : u;
    const int turn = turn_of(cell);
    for (int a = 0; a < ANSWERED; a++, row += WIDEST) {
      double largest = 0;
      row[0] = (real)(slow / (fast + @{ smallest_speed }@)), row[1] = (real)fast;
      for (int t = 0; t < LOOK_TAPS; t++) {
        const int *offset = STENCIL[turn * ALIGNED_TAPS + t];
        const real *there = f->data + at(f, i + offset[0], j + offset[1], k + offset[2]);
        row[2 + t] = there[ACTS_ON[a]] - cell[ACTS_ON[a]];
        largest = fabs((double)row[2 + t]) > largest ? fabs((double)row[2 + t]) : largest;
      }
      for (int t = 0; t < LOOK_TAPS; t++) row[2 + t] /= (real)(largest + @{ smallest_difference }@);
    }
    return;
  }
/*% endif %*/
  for (int t = 0; t < p->taps; t++) {
    const int *offset = p->offset[t];
    const ptrdiff_t there = offset[0] * f->pitch[0] + offset[1] * f->pitch[1] + offset[2] * f->pitch[2];
    memcpy(row + (ptrdiff_t)t * channels, cell + there, (size_t)channels * sizeof(real));
  }
}

/*% endif %*/
/* The action of one cell into the caller's arrays, as the guard wants it. Returns whether it had to go without. */
static size_t answered(const @{ name }@_closure *h, const double *found, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k,
                       void *const *action, int single) {
  const ptrdiff_t place = i * h->out_stride[0] + j * h->out_stride[1] + k * h->out_stride[2];
  const int outside = h->guard != @{ prefix }@_GUARD_OFF && h->outside[(i * h->n[1] + j) * h->n[2] + k];
  int wrong = 0;
  for (int a = 0; a < ANSWERED; a++) wrong |= !is_finite(found[a]);
  for (int a = 0; a < ANSWERED; a++)
    stored(action[a], place, single,
           wrong || (outside && h->guard == @{ prefix }@_GUARD_ZERO) ? UNCORRECTED(a) : clipped(found[a]));
  return wrong && !outside;
}

/* One pass over all cells. Returns in how many of them the answer is not finite; they are not corrected. */
static size_t run(@{ name }@_closure *h, const pass *p, const void *const *noise, void *const *action, int single) {
  const int last = p->into == ANSWER, rows = p->aligned ? ANSWERED : 1, block = BLOCK / rows ? BLOCK / rows : 1;
  ptrdiff_t begin[3] = {0, 0, 0}, end[3] = {h->n[0], h->n[1], h->n[2]};
  if (!last)
    for (int a = 0; a < 3; a++) begin[a] -= h->extra_low[p->into][a], end[a] += h->extra_high[p->into][a];
  const ptrdiff_t wide = end[1] - begin[1], blocks = (end[2] - begin[2] + block - 1) / block;
  const ptrdiff_t tasks = (end[0] - begin[0]) * wide * blocks;
  size_t wrong = 0;
#ifdef _OPENMP
#pragma omp parallel for schedule(static) num_threads(h->threads) reduction(+ : wrong)
#endif
  for (ptrdiff_t task = 0; task < tasks; task++) {
#ifdef _OPENMP
    real *in = h->scratch + (size_t)omp_get_thread_num() * h->scratch_size;
#else
    real *in = h->scratch;
#endif
    real *other = in + h->scratch_size / 2;
    const ptrdiff_t k0 = begin[2] + task % blocks * block, i = begin[0] + task / blocks / wide;
    const ptrdiff_t j = begin[1] + task / blocks % wide;
    const int count = (int)(end[2] - k0 < block ? end[2] - k0 : block);
/*% if guided %*/
    for (int c = 0; c < count; c++) {
      double cell[OBSERVED], found[ANSWERED];
      const field *f = &h->fields[0];
      const real *values = f->data + at(f, i, j, k0 + c);
      for (int o = 0; o < OBSERVED; o++) cell[o] = (double)values[o];
      guided(cell, in, other, found);
      wrong += answered(h, found, i, j, k0 + c, action, single);
    }
    (void)noise, (void)rows;
/*% else %*/
    for (int c = 0; c < count; c++) gather(h, p, i, j, k0 + c, in + (ptrdiff_t)c * rows * WIDEST);
    const real *out = network(p, count * rows, in, other);
    for (int c = 0; c < count; c++) {
      const real *row = out + (ptrdiff_t)c * rows * WIDEST;
      const ptrdiff_t k = k0 + c;
      if (!last) {
        const field *f = &h->fields[p->into];
        real *to = f->data + at(f, i, j, k);
/*% if noise %*/
        if (p->into == SPREAD) {
          for (int a = 0; a < ANSWERED; a++) to[a] = softplus(row[a]) + (real)1e-6;
          continue;
        }
/*% endif %*/
        memcpy(to, row, (size_t)CHANNELS[p->into] * sizeof(real));
        continue;
      }
      double found[ANSWERED];
      answer(h, row, i, j, k, found);
/*% if noise %*/
      if (noise) {
        const ptrdiff_t place = i * h->out_stride[0] + j * h->out_stride[1] + k * h->out_stride[2];
        const field *f = &h->fields[SPREAD];
        for (int a = 0; a < ANSWERED; a++) found[a] += (double)f->data[at(f, i, j, k) + a] * loaded(noise[a], place, single);
      }
/*% else %*/
      (void)noise;
/*% endif %*/
      wrong += answered(h, found, i, j, k, action, single);
    }
/*% endif %*/
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
    if (PASSES[p].into != SPREAD || SPREAD < 0 || noise) wrong += run(h, &PASSES[p], noise, action, single);
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
    if (grid->n[a] < 1 || grid->n[a] > (size_t)1 << 30 || low < 0 || low > 2 || high < 0 || high > 2 ||
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
    ptrdiff_t size = CHANNELS[f];
    for (int a = 2; a >= 0; a--) one->pitch[a] = size, size *= h->n[a] + one->low[a] + one->high[a];
    one->size = (size_t)size;
    total += one->size;
  }
#ifdef _OPENMP
  h->threads = omp_get_max_threads();
#else
  h->threads = 1;
#endif
  h->scratch_size = 2 * (size_t)(BLOCK + ROWS + ANSWERED) * WIDEST;
  h->memory = calloc(total, sizeof(real));
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
