/* Taylor's polynomial of degree 7 on half a factor of two: 5e-9 of the value. */
static real exponential(real x) {
/*% if real == "float" %*/
  x = x > 88 ? 88 : x < -87 ? -87 : x;
  const int n = (int)(x * 1.4426950f + (x < 0 ? -0.5f : 0.5f));
  const float r = (x - (float)n * 0.693359375f) + (float)n * 2.1219444e-4f;
  const uint32_t power = (uint32_t)(n + 127) << 23;
  float scale;
  memcpy(&scale, &power, sizeof scale);
  return scale * (1 + r * (1 + r * (1.f / 2 + r * (1.f / 6 + r * (1.f / 24 + r * (1.f / 120 + r * (1.f / 720 + r / 5040)))))));
/*% else %*/
  return exp(x);
/*% endif %*/
}

static real sigmoid(real x) { return 1 / (1 + exponential(-x)); }

/* out[output][cell] = bias + weights in[input][cell] for BLOCK cells; input i begins at place[i]. */
static void dense(const layer *l, const real *in, const ptrdiff_t *place, real *out) {
  for (int o = 0; o < l->outputs; o += ROWS) {
    const real *bias = l->bias + o, *first = l->weight + (ptrdiff_t)o * l->inputs;
#ifdef LANES
    for (int c = 0; c < BLOCK; c += 2 * LANES) {
      const real *w = first;
/*% for r in range(rows) %*/
      lanes a@{ r }@ = (lanes){0} + bias[@{ r }@], b@{ r }@ = a@{ r }@;
/*% endfor %*/
      for (int i = 0; i < l->inputs; i++, w += ROWS) {
        lanes a, b;
        memcpy(&a, in + place[i] + c, sizeof a);
        memcpy(&b, in + place[i] + c + LANES, sizeof b);
/*% for r in range(rows) %*/
        a@{ r }@ += a * w[@{ r }@], b@{ r }@ += b * w[@{ r }@];
/*% endfor %*/
      }
      real *to = out + (ptrdiff_t)o * BLOCK + c;
/*% for r in range(rows) %*/
      memcpy(to + @{ r }@ * BLOCK, &a@{ r }@, sizeof a@{ r }@), memcpy(to + @{ r }@ * BLOCK + LANES, &b@{ r }@, sizeof b@{ r }@);
/*% endfor %*/
    }
#else
    for (int r = 0; r < ROWS; r++) {
      real *sum = out + (ptrdiff_t)(o + r) * BLOCK;
      for (int c = 0; c < BLOCK; c++) sum[c] = bias[r];
      for (int i = 0; i < l->inputs; i++)
        for (int c = 0; c < BLOCK; c++) sum[c] += in[place[i] + c] * first[i * ROWS + r];
    }
#endif
  }
}

static void activate(const layer *l, real *out) {
  const int all = l->outputs * BLOCK, half = all / 2;
  switch (l->activation) {
    case RELU:
      for (int i = 0; i < all; i++) out[i] = out[i] > 0 ? out[i] : 0;
      break;
    case GELU:
      for (int i = 0; i < all; i++)
        out[i] *= sigmoid((real)1.5957691216057308 * (out[i] + (real)0.044715 * out[i] * out[i] * out[i]));
      break;
    case SILU:
      for (int i = 0; i < all; i++) out[i] *= sigmoid(out[i]);
      break;
    case TANH:
      for (int i = 0; i < all; i++) out[i] = 1 - 2 * sigmoid(-2 * out[i]);
      break;
    case GLU:
      for (int i = 0; i < half; i++) out[i] *= sigmoid(out[half + i]);
      break;
    case BILINEAR:
      for (int i = 0; i < half; i++) out[i] *= out[half + i];
      break;
    default: break;
  }
}

/* BLOCK cells through all layers of a pass: [output][cell], in one or the other scratch space. Inputs that stand in scratch
   space stand in one. */
static const real *network(const @{ name }@_closure *h, const pass *p, const real *in, const ptrdiff_t *place, real *one,
                           real *other) {
  for (int i = 0; i < p->count; i++) {
    const layer *l = &LAYERS[p->first + i];
    dense(l, in, place, other);
    activate(l, other);
    real *swap = one;
    one = other, other = swap;
    in = one, place = h->rows;
  }
  return in;
}
