/* A field on the grid with ghost cells, channel after channel. Grids with fewer than three axes have axes of one cell
   first. */
typedef struct {
  value *data;
  int low[3], high[3];
  ptrdiff_t pitch[3], plane; /* from cell to cell, and from channel to channel */
  size_t size;
} field;

struct @{ name }@_closure {
  ptrdiff_t n[3], stride[3], out_stride[3];
  int low[3], high[3];
  field fields[FIELDS];
  int extra_low[FIELDS][3], extra_high[FIELDS][3]; /* cells beyond the grid in which a field is computed */
  ptrdiff_t place[PLACES], rows[WIDEST];           /* where the inputs of passes are, and those of other layers */
/*% if stencil %*/
  /*% if aligned %*/int/*% else %*/ptrdiff_t/*% endif %*/ shift[SHIFTS]; /* from a cell to the others of its stencil */
/*% endif %*/
  value *memory;
  real *scratch;
  unsigned char *outside;
  size_t scratch_size, outside_now, outside_all;
  int threads, guard;
};

static ptrdiff_t at(const field *f, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k) {
  return (i + f->low[0]) * f->pitch[0] + (j + f->low[1]) * f->pitch[1] + (k + f->low[2]);
}

/* From a cell to another one. */
static ptrdiff_t shifted(const field *f, const int *offset) {
  return offset[0] * f->pitch[0] + offset[1] * f->pitch[1] + offset[2];
}

/*% if has_range or noise %*/
static double loaded(const void *array, ptrdiff_t place, int single) {
  return single ? (double)((const float *)array)[place] : ((const double *)array)[place];
}

/*% endif %*/
static void stored(void *array, ptrdiff_t place, int single, double x) {
  if (single) ((float *)array)[place] = (float)(x > FLT_MAX ? FLT_MAX : x < -FLT_MAX ? -FLT_MAX : x);
  else ((double *)array)[place] = x;
}

/* By its bits: -ffast-math takes isfinite away. */
static int is_finite(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (bits >> 52 & 0x7ff) != 0x7ff;
}

/* Ghost cells at the ends without a halo: axis after axis, so that corners come from both. */
static void fill_ghosts(const @{ name }@_closure *h, int number) {
  const field *f = &h->fields[number];
  for (int axis = 0; axis < 3; axis++) {
    ptrdiff_t begin[3], end[3];
    for (int a = 0; a < 3; a++) {
      begin[a] = a < axis ? -f->low[a] : -h->extra_low[number][a];
      end[a] = h->n[a] + (a < axis ? f->high[a] : h->extra_high[number][a]);
    }
    for (int side = 0; side < 2; side++) {
      const int kind = side ? h->high[axis] : h->low[axis];
      if (kind == @{ prefix }@_HALO_CELLS) continue;
      const ptrdiff_t ghosts = side ? f->high[axis] : f->low[axis], n = h->n[axis];
      for (ptrdiff_t g = 0; g < ghosts; g++) {
        const ptrdiff_t to = side ? n + g : -1 - g;
        const ptrdiff_t from = kind == @{ prefix }@_PERIODIC ? ((to % n) + n) % n : side ? n - 1 : 0;
        const ptrdiff_t back = (from - to) * f->pitch[axis];
        begin[axis] = to, end[axis] = to + 1;
        for (int c = 0; c < CHANNELS[number]; c++)
          for (ptrdiff_t i = begin[0]; i < end[0]; i++)
            for (ptrdiff_t j = begin[1]; j < end[1]; j++) {
              value *row = f->data + c * f->plane + at(f, i, j, begin[2]);
              if (axis == 2) row[0] = row[back];
              else memcpy(row, row + back, (size_t)(end[2] - begin[2]) * sizeof(value));
            }
      }
    }
  }
}

/* A row of the caller's array. Returns whether all of it is finite; zero stands for what is not. */
static int copied(value *row, const void *array, ptrdiff_t place, ptrdiff_t stride, ptrdiff_t count, int single) {
  int finite = 1;
  if (single)
    for (ptrdiff_t k = 0; k < count; k++) {
      const float x = ((const float *)array)[place + k * stride];
      const int good = is_finite((double)x);
      row[k] = good ? (value)x : 0;
      finite &= good;
    }
  else
    for (ptrdiff_t k = 0; k < count; k++) {
      const double x = ((const double *)array)[place + k * stride];
      const int good = is_finite(x) & (x <= LARGEST_VALUE) & (x >= -LARGEST_VALUE);
      row[k] = good ? (value)x : 0;
      finite &= good;
    }
  return finite;
}
/*% if has_range %*/

/* A row within the range of its channel; marks the cells (of row i, j) that were outside. */
static void limited(@{ name }@_closure *h, int c, value *row, const void *array, ptrdiff_t place, ptrdiff_t i, ptrdiff_t j,
                    ptrdiff_t begin, ptrdiff_t end, int single) {
  const int inside = i >= 0 && i < h->n[0] && j >= 0 && j < h->n[1];
  for (ptrdiff_t k = begin; k < end; k++, place += h->stride[2], row++) {
    const double x = loaded(array, place, single), seen = is_finite(x) ? x : 0;
    *row = (value)(seen > HIGHEST[c] ? HIGHEST[c] : seen < LOWEST[c] ? LOWEST[c] : seen);
    if (inside && k >= 0 && k < h->n[2] && (!is_finite(x) || x < LOWEST[c] || x > HIGHEST[c]))
      h->outside[(i * h->n[1] + j) * h->n[2] + k] = 1;
  }
}
/*% endif %*/

/* The observation as field 0. Returns whether a closure can answer to it. */
static int prepare(@{ name }@_closure *h, const void *const *observation, int single) {
  const field *f = &h->fields[0];
  const int *low = h->extra_low[0], *high = h->extra_high[0];
  const ptrdiff_t begin = -low[2], end = h->n[2] + high[2];
  int finite = 1;
  h->outside_now = 0;
/*% if has_range %*/
  const size_t cells = (size_t)(h->n[0] * h->n[1] * h->n[2]);
  if (h->guard != @{ prefix }@_GUARD_OFF) memset(h->outside, 0, cells);
/*% endif %*/
  for (int c = 0; c < OBSERVED; c++)
    for (ptrdiff_t i = -low[0]; i < h->n[0] + high[0]; i++)
      for (ptrdiff_t j = -low[1]; j < h->n[1] + high[1]; j++) {
        value *row = f->data + c * f->plane + at(f, i, j, begin);
        const ptrdiff_t place = i * h->stride[0] + j * h->stride[1] + begin * h->stride[2];
/*% if has_range %*/
        if (h->guard != @{ prefix }@_GUARD_OFF) {
          limited(h, c, row, observation[c], place, i, j, begin, end, single);
          continue;
        }
/*% endif %*/
        finite &= copied(row, observation[c], place, h->stride[2], end - begin, single);
      }
/*% if has_range %*/
  if (h->guard != @{ prefix }@_GUARD_OFF)
    for (size_t i = 0; i < cells; i++) h->outside_now += h->outside[i];
  h->outside_all += h->outside_now;
/*% endif %*/
  fill_ghosts(h, 0);
  return finite;
}
/*% if by_speed %*/

/* Field 1: velocities in units of the local speed, a diffusivity's logarithm, the speed's logarithm, and the speed itself
   (closures/speed.py): the sum of absolute velocities, averaged over a cell and its neighbours. */
static void make_relative(@{ name }@_closure *h) {
  static const int velocity[] = {@{ velocity | join(", ") }@};
  const field *from = &h->fields[0], *f = &h->fields[1];
  const int *low = h->extra_low[1], *high = h->extra_high[1];
  const ptrdiff_t begin = -low[2], count = h->n[2] + high[2] - begin;
  for (ptrdiff_t i = -low[0]; i < h->n[0] + high[0]; i++)
    for (ptrdiff_t j = -low[1]; j < h->n[1] + high[1]; j++) {
      const value *seen = from->data + at(from, i, j, begin);
      value *row = f->data + at(f, i, j, begin), *log_speed = row + OBSERVED * f->plane, *speed = log_speed + f->plane;
      for (ptrdiff_t k = 0; k < count; k++) speed[k] = 0;
      for (int v = 0; v < @{ velocity | length }@; v++)
        for (int a = -(AXES > 2); a <= (AXES > 2); a++)
          for (int b = -(AXES > 1); b <= (AXES > 1); b++) {
            const value *near = from->data + velocity[v] * from->plane + at(from, i + a, j + b, begin);
            for (ptrdiff_t k = 0; k < count; k++)
              speed[k] += (value)(fabs((double)near[k - 1]) + fabs((double)near[k]) + fabs((double)near[k + 1]));
          }
      for (ptrdiff_t k = 0; k < count; k++) {
        speed[k] = speed[k] / (value)@{ 3**axes }@ + (value)@{ smallest_speed }@;
        log_speed[k] = (value)log((double)speed[k]);
      }
      for (int c = 0; c < OBSERVED; c++) memcpy(row + c * f->plane, seen + c * from->plane, (size_t)count * sizeof(value));
      for (int v = 0; v < @{ velocity | length }@; v++)
        for (ptrdiff_t k = 0; k < count; k++) row[velocity[v] * f->plane + k] /= speed[k];
/*% if diffusivity is not none %*/
      for (ptrdiff_t k = 0; k < count; k++)
        row[@{ diffusivity }@ * f->plane + k] = (value)log((double)row[@{ diffusivity }@ * f->plane + k]);
/*% endif %*/
    }
  fill_ghosts(h, 1);
}
/*% endif %*/
