/* Random calls of an exported closure: every one gives values or a status code, within the arrays that it was given.
 *
 *   cc -std=c99 -fsanitize=address,undefined -include NAME.h -DCLOSURE=NAME -DUPPER=PREFIX closure_fuzz.c NAME.c -lm
 *   ./a.out CALLS SEED LARGEST      (grids of up to LARGEST / axes cells along an axis)
 *
 * Arrays are allocated to the byte, so that a sanitizer sees any access beside them. What a call must answer is worked
 * out here from the header's text alone. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOINED_(a, b) a##_##b
#define JOINED(a, b) JOINED_(a, b)
#define F(name) JOINED(CLOSURE, name)
#define M(name) JOINED(UPPER, name)

enum { AXES = M(AXES), OBSERVED = M(OBSERVED), ANSWERED = M(ANSWERED), HALO = M(HALO), SLOTS = 4 };
#define SENTINEL 12345.0

static uint64_t state;
static int largest = 36;
static uint32_t bits(void) { /* Steele et al. 2014, splitmix64 */
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (uint32_t)((z ^ (z >> 31)) >> 32);
}
static int below(int n) { return (int)(bits() % (uint32_t)n); }
static double uniform(void) { return bits() / 4294967296.0; }

static long counts[6];
#define CHECK(what)                                                              \
  do {                                                                           \
    if (!(what)) {                                                               \
      printf("%s:%d: %s (call %ld)\n", __FILE__, __LINE__, #what, call_number);  \
      exit(1);                                                                   \
    }                                                                            \
  } while (0)
static long call_number;

typedef struct {
  F(closure) * closure;
  F(grid) grid;
  size_t total; /* cells outside of the range so far */
  int guard;
} slot;

/* Layout of the arrays of one call: strides in elements, offset of the first cell, elements. */
typedef struct {
  ptrdiff_t stride[AXES], channel, first, size;
} layout;

static layout drawn_layout(const F(grid) * grid, int channels, int with_ghosts) {
  layout l = {{0}, 0, 0, 0};
  ptrdiff_t n[AXES], ghosts[AXES], pitch = 1;
  int order[AXES];
  for (int a = 0; a < AXES; a++) {
    ghosts[a] = with_ghosts && grid->low[a] == M(HALO_CELLS) ? HALO : 0;
    n[a] = (ptrdiff_t)grid->n[a] + ghosts[a] + (with_ghosts && grid->high[a] == M(HALO_CELLS) ? HALO : 0);
    order[a] = a;
  }
  for (int a = AXES - 1; a > 0; a--) {
    const int b = below(a + 1), swap = order[a];
    order[a] = order[b], order[b] = swap;
  }
  const int interleaved = below(3) == 0;
  if (interleaved) l.channel = 1, pitch = channels;
  for (int o = AXES - 1; o >= 0; o--) {
    const int a = order[o];
    l.stride[a] = below(4) ? pitch : -pitch; /* axes may run backwards */
    if (l.stride[a] < 0) l.first += (n[a] - 1) * pitch;
    l.first += ghosts[a] * l.stride[a];
    pitch *= n[a];
    if (below(3) == 0) pitch += below(3); /* padding */
  }
  if (!interleaved) l.channel = pitch, pitch *= channels;
  l.size = pitch;
  return l;
}

static double drawn_value(int kind) {
  static const double odd[] = {NAN, INFINITY, -INFINITY, 1e308, -1e308, 1e39, -3.4e38, 5e-324, -0.0, 1e-40};
  if (kind == 1 && below(20) == 0) return odd[below(10)];
  if (kind == 2) return (uniform() - 0.5) * pow(10, below(76) - 38);
  if (kind == 3) return 0;
  if (kind == 4) return uniform();
  return 3 * (uniform() + uniform() + uniform() - 1.5);
}

static int bad_grid(const F(grid) * g) {
  for (int a = 0; a < AXES; a++) {
    if (g->n[a] < 1 || g->n[a] > 1u << 26) return 1;
    if (g->low[a] < 0 || g->low[a] > 2 || g->high[a] < 0 || g->high[a] > 2) return 1;
    if ((g->low[a] == M(PERIODIC)) != (g->high[a] == M(PERIODIC))) return 1;
  }
  return 0;
}

static void begin(slot *s) {
  F(grid) g;
  memset(&g, 0, sizeof g);
  for (int a = 0; a < AXES; a++) {
    const size_t strange[] = {0, (size_t)-3, SIZE_MAX, SIZE_MAX / 2, (size_t)1 << 31, 0};
    g.n[a] = below(30) == 0 ? strange[below(6)] : below(2) ? (size_t)(1 + below(4)) : (size_t)(1 + below(AXES == 1 ? 3 * largest : largest / AXES));
    g.low[a] = below(3), g.high[a] = g.low[a] == M(PERIODIC) ? M(PERIODIC) : 1 + below(2);
    if (below(30) == 0) g.low[a] = below(6) - 2;
    if (below(30) == 0) g.high[a] = below(6) - 2;
  }
  const int none = below(50);
  F(closure) *before = s->closure;
  const int status = F(init)(none == 0 ? NULL : &s->closure, none == 1 ? NULL : &g);
  if (none == 0) {
    CHECK(status == M(BAD_ARGUMENT));
    s->closure = before;
    return;
  }
  if (none == 1) CHECK(status == M(BAD_ARGUMENT));
  else if (bad_grid(&g)) CHECK(status == M(BAD_GRID));
  else CHECK(status == M(OK));
  CHECK((s->closure != NULL) == (status == M(OK) && none != 1));
  counts[status]++;
  s->grid = g, s->total = 0, s->guard = M(GUARD_OFF);
}

static void ended(slot *s) {
  F(free)(s->closure);
  s->closure = NULL;
}

/* Strides are a matter of init: a call gives arrays of its own layout to a new closure on the same grid. */
static void called(slot *s) {
  const int contiguous = below(3) == 0, single = below(3) == 0, noisy = !single && below(3) == 0, kind = below(6);
  F(grid) g = s->grid;
  layout in = drawn_layout(&g, OBSERVED, 1), out = drawn_layout(&g, ANSWERED, 0);
  const size_t each = single ? sizeof(float) : sizeof(double);
  F(closure) *closure = s->closure;
  int halo = 0;
  for (int a = 0; a < AXES; a++) halo |= g.low[a] == M(HALO_CELLS) || g.high[a] == M(HALO_CELLS);
  const int strided = !contiguous || halo;
  if (strided) {
    memcpy(g.stride, in.stride, sizeof in.stride), memcpy(g.out_stride, out.stride, sizeof out.stride);
    CHECK(F(init)(&closure, &g) == M(OK));
    CHECK(F(guard)(closure, s->guard) == M(OK));
  } else {
    ptrdiff_t cells = 1;
    for (int a = AXES - 1; a >= 0; a--) in.stride[a] = out.stride[a] = cells, cells *= (ptrdiff_t)g.n[a];
    in.first = out.first = 0, in.channel = out.channel = cells;
    in.size = cells * OBSERVED, out.size = cells * ANSWERED;
  }
  char *seen = malloc((size_t)in.size * each), *done = malloc((size_t)out.size * each);
  char *random = malloc((size_t)out.size * sizeof(double)), *again = malloc((size_t)out.size * each);
  for (ptrdiff_t i = 0; i < in.size; i++) {
    const double value = drawn_value(kind);
    if (single) ((float *)seen)[i] = fabs(value) > 3e38 && isfinite(value) ? 1e30f : (float)value;
    else ((double *)seen)[i] = value;
  }
  for (ptrdiff_t i = 0; i < out.size; i++) {
    if (single) ((float *)done)[i] = (float)SENTINEL;
    else ((double *)done)[i] = SENTINEL;
    ((double *)random)[i] = drawn_value(below(20) ? 0 : 1);
  }
  memcpy(again, done, (size_t)out.size * each);
  const void *observation[OBSERVED], *noise[ANSWERED];
  void *action[ANSWERED];
  for (int c = 0; c < OBSERVED; c++) observation[c] = seen + (size_t)(in.first + c * in.channel) * each;
  for (int a = 0; a < ANSWERED; a++) {
    action[a] = done + (size_t)(out.first + a * out.channel) * each;
    noise[a] = random + (size_t)(out.first + a * out.channel) * sizeof(double);
  }
  const int missing = below(40);
  if (missing == 0) observation[below(OBSERVED)] = NULL;
  if (missing == 1) action[below(ANSWERED)] = NULL;
  const void *const *given = missing == 2 ? NULL : observation;
  void *const *taken = missing == 3 ? NULL : action;
  F(closure) *used = missing == 4 ? NULL : closure;
  if (missing == 5 && noisy) noise[below(ANSWERED)] = NULL;
  const int absent = missing < 5 || (missing == 5 && noisy);
  int status = 0;
  for (int turn = 0; turn < 2; turn++) {
    if (single) status = F(apply_float)(used, (const float *const *)given, (float *const *)taken);
    else if (noisy)
      status = F(apply_noise)(used, (const double *const *)given, (const double *const *)noise, (double *const *)taken);
    else status = F(apply)(used, (const double *const *)given, (double *const *)taken);
    if (turn == 0) { /* the same call gives the same bits */
      char *swap = malloc((size_t)out.size * each);
      memcpy(swap, done, (size_t)out.size * each), memcpy(done, again, (size_t)out.size * each);
      memcpy(again, swap, (size_t)out.size * each), free(swap);
    }
  }
  CHECK(memcmp(done, again, (size_t)out.size * each) == 0);
  counts[status]++;
  if (absent) CHECK(status == M(BAD_ARGUMENT));
  else CHECK(status == M(OK) || (status == M(NOT_FINITE) && s->guard == M(GUARD_OFF)));
  /* The cells are finite, all else is as it was. */
  ptrdiff_t n[3] = {1, 1, 1}, stride[3] = {0, 0, 0}, cells = 1;
  for (int a = 0; a < AXES; a++) n[a] = (ptrdiff_t)g.n[a], stride[a] = out.stride[a], cells *= n[a];
  if (!absent)
    for (int c = 0; c < ANSWERED; c++)
      for (ptrdiff_t i = 0; i < n[0]; i++)
        for (ptrdiff_t j = 0; j < n[1]; j++)
          for (ptrdiff_t k = 0; k < n[2]; k++) {
            const ptrdiff_t place = out.first + c * out.channel + i * stride[0] + j * stride[1] + k * stride[2];
            const double value = single ? (double)((float *)done)[place] : ((double *)done)[place];
            CHECK(isfinite(value));
            if (single) ((float *)done)[place] = (float)SENTINEL;
            else ((double *)done)[place] = SENTINEL;
          }
  for (ptrdiff_t i = 0; i < out.size; i++)
    CHECK((single ? (double)((float *)done)[i] : ((double *)done)[i]) == (single ? (double)(float)SENTINEL : SENTINEL));
  if (!absent) {
    CHECK(F(outside)(closure) <= (size_t)cells);
    CHECK(s->guard != M(GUARD_OFF) || F(outside)(closure) == 0);
    if (!strided) s->total += 2 * F(outside)(closure);
  }
  CHECK(F(outside_total)(s->closure) == s->total);
  if (strided) F(free)(closure);
  free(seen), free(done), free(random), free(again);
}

int main(int count, char **words) {
  static slot slots[SLOTS];
  const long calls = count > 1 ? atol(words[1]) : 1000;
  state = count > 2 ? (uint64_t)atol(words[2]) : 0;
  if (count > 3) largest = atoi(words[3]);
  for (call_number = 0; call_number < calls; call_number++) {
    slot *s = &slots[below(SLOTS)];
    const int what = below(20);
    if (!s->closure || what == 0) {
      ended(s); /* nothing where there is none */
      begin(s);
    } else if (what == 1) ended(s);
    else if (what == 2) {
      const int mode = below(6) - 1, status = F(guard)(below(10) ? s->closure : NULL, mode);
      CHECK(status == M(OK) || status == M(BAD_ARGUMENT) || (status == M(NO_RANGE) && !M(RANGE)));
      CHECK(status != M(OK) || (mode >= 0 && mode <= 2 && (mode == 0 || M(RANGE))));
      if (status == M(OK)) s->guard = mode;
      counts[status]++;
    } else if (what == 3) {
      CHECK(strlen(F(message)(below(20) - 5)) > 0);
      CHECK(strlen(F(message)(below(2) ? INT32_MAX : INT32_MIN)) > 0);
      CHECK(F(outside)(NULL) == 0 && F(outside_total)(NULL) == 0);
      F(free)(NULL);
    } else called(s);
  }
  for (int i = 0; i < SLOTS; i++) ended(&slots[i]);
  printf("%ld calls; by status: %ld %ld %ld %ld %ld %ld\n", calls, counts[0], counts[1], counts[2], counts[3], counts[4],
         counts[5]);
  return 0;
}
