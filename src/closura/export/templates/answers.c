static double clipped(double x) { return x > BOUND ? BOUND : x < -BOUND ? -BOUND : x; }

/*% if aligned %*/
/* The turn of each cell, by its velocity: 0 to 7 (closures/aligned.py). */
static void turns_of(const value *u, const value *v, int *turn) {
  for (int c = 0; c < BLOCK; c++) turn[c] = 4 * (fabs((double)v[c]) > fabs((double)u[c])) + 2 * (u[c] < 0) + (v[c] < 0);
}

/* What the network sees of a block: velocities, and differences to the turned neighbours over the largest of them. */
static void gather(const @{ name }@_closure *h, const value *u, const value *v, const value *q, const int *turn, int count,
                   real *in) {
  real largest[BLOCK];
  for (int c = 0; c < BLOCK; c++) {
    const real one = (real)fabs((double)u[c]), two = (real)fabs((double)v[c]);
    const real fast = one > two ? one : two, slow = one > two ? two : one;
    in[c] = slow / (fast + (real)@{ smallest_speed }@), in[BLOCK + c] = fast, largest[c] = 0;
  }
  for (int t = 0; t < LOOK_TAPS; t++) {
    real *row = in + (2 + t) * BLOCK;
    const int *shift = h->shift + 8 * t;
    for (int c = 0; c < count; c++) row[c] = q[c + shift[turn[c]]] - q[c];
    for (int c = 0; c < BLOCK; c++) {
      const real size = row[c] < 0 ? -row[c] : row[c];
      largest[c] = size > largest[c] ? size : largest[c];
    }
  }
  for (int c = 0; c < BLOCK; c++) largest[c] = 1 / (largest[c] + (real)@{ smallest_difference }@);
  for (int t = 0; t < LOOK_TAPS; t++)
    for (int c = 0; c < BLOCK; c++) in[(2 + t) * BLOCK + c] *= largest[c];
}

/* f s sum_t w_t (q_t - q), with s the speed of the cell. */
static void weighed(const @{ name }@_closure *h, const value *u, const value *v, const value *q, const int *turn, int count,
                    const real *weight, double *found) {
  real sum[BLOCK] = {0};
  for (int t = 0; t < STENCIL_TAPS; t++) {
    const int *shift = h->shift + 8 * t;
    for (int c = 0; c < count; c++) sum[c] += weight[t * BLOCK + c] * (q[c + shift[turn[c]]] - q[c]);
  }
  for (int c = 0; c < count; c++)
    found[c] = @{ factor }@ * (fabs((double)u[c]) + fabs((double)v[c]) + @{ smallest_speed }@) * (double)sum[c];
}

/*% elif stencil %*/
/* f sum_t w_t (q_t - q)/*% if by_speed %*/, times the speed, and a constant part/*% endif %*/. */
static void weighed(const @{ name }@_closure *h, int a, const value *q, /*% if by_speed %*/const value *speed,
                    /*% if diffusivity is not none %*/const value *diffusivity, /*% endif %*//*% endif %*/const real *weight,
                    double *found) {
  real sum[BLOCK] = {0}/*% if by_speed %*/, constant[BLOCK] = {0}/*% endif %*/;
  for (int t = 0; t < STENCIL_TAPS; t++) {
    const real *w = weight + (a * STENCIL_TAPS + t) * BLOCK;
    const value *there = q + h->shift[t];
/*% if by_speed %*/
    const real share = CONSTANT[a * STENCIL_TAPS + t];
/*% endif %*/
    for (int c = 0; c < BLOCK; c++) {
      const real difference = there[c] - q[c];
      sum[c] += w[c] * difference;
/*% if by_speed %*/
      constant[c] += share * difference;
/*% endif %*/
    }
  }
  for (int c = 0; c < BLOCK; c++)
/*% if by_speed %*/
    found[c] = @{ factor }@ * (double)(speed[c] * sum[c] + /*% if diffusivity is not none %*/diffusivity[c] * /*% endif %*/constant[c]);
/*% else %*/
    found[c] = @{ factor }@ * (double)sum[c];
/*% endif %*/
}

/*% endif %*/
/*% if weighs %*/
/*% if guided %*/
/* Logarithm of the contrast of the sub-stencils, and their smoothness indicators (closures/weights.py). */
static double smoothness(const double *stencil, double *beta) {
  double steps[POINTS - 1], tau = 0, least, most;
  for (int j = 0; j < POINTS - 1; j++) steps[j] = stencil[j + 1] - stencil[j];
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

/*% endif %*/
/* Logits of both sides of a block of interfaces: guided ones come from the network of one side. */
static void weigh(const @{ name }@_closure *h, const value *seen, ptrdiff_t plane, int count, real *one, real *other,
                  double (*found)[BLOCK]) {
/*% if guided %*/
  enum { SIDES = 2, LOGITS = SUBS };
  double rough[2][SUBS][BLOCK], contrast[2][BLOCK], share[2][BLOCK];
  for (int s = 0; s < 2; s++)
    for (int c = 0; c < count; c++) {
      double stencil[POINTS], beta[SUBS], mean = 0;
      for (int j = 0; j < POINTS; j++) stencil[j] = seen[(s * POINTS + j) * plane + c];
      contrast[s][c] = smoothness(stencil, beta);
      for (int k = 0; k < SUBS; k++) mean += beta[k] / SUBS;
      for (int k = 0; k < SUBS; k++) rough[s][k][c] = POWER * log(beta[k] / (mean + TINY) + SOFTENING);
      share[s][c] = 1;
      if (SIZES) {
        const double size = seen[(2 * POINTS + s) * plane + c];
        share[s][c] = size * size / (size * size + (1 - size) * (1 - size));
      }
    }
/*% else %*/
  enum { SIDES = 1, LOGITS = 2 * SUBS };
/*% endif %*/
  for (int s = 0; s < SIDES; s++) {
    real learned[LOGITS][BLOCK];
    for (int turned = 0; turned < 1 + EVEN; turned++) { /* the stencils with the other sign */
      real *row = one;
      for (int side = 0; side < 2; side++)
        for (int j = 0; j < POINTS; j++, row += BLOCK) {
          const value *from = seen + ((side ? 1 - s : s) * POINTS + j) * plane;
          for (int c = 0; c < count; c++) row[c] = (real)(turned ? -from[c] : from[c]);
        }
      for (int size = s; size < (SIDES == 1 ? 2 : s + 1) && SIZES; size++, row += BLOCK)
        for (int c = 0; c < count; c++) row[c] = (real)seen[(2 * POINTS + size) * plane + c];
/*% if guided %*/
      for (int k = 0; k < SUBS; k++, row += BLOCK)
        for (int c = 0; c < count; c++) row[c] = (real)rough[s][k][c];
/*% endif %*/
      const real *out = network(h, &PASSES[0], one, h->rows, one, other);
      for (int k = 0; k < LOGITS; k++)
        for (int c = 0; c < count; c++)
          learned[k][c] = turned ? (learned[k][c] + out[k * BLOCK + c]) / 2 : out[k * BLOCK + c];
    }
    for (int k = 0; k < LOGITS; k++)
      for (int c = 0; c < count; c++)
        found[s * LOGITS + k][c] = LARGEST > 0 ? LARGEST * tanh(learned[k][c] / LARGEST) : (double)learned[k][c];
/*% if guided %*/
    for (int c = 0; c < count; c++) {
      const double log_c = share[s][c] * contrast[s][c] + (1 - share[s][c]) * contrast[1 - s][c];
      double gate = (log_c - log(CLOSED)) / log(OPENED / CLOSED);
      gate = gate < 0 ? 0 : gate > 1 ? 1 : gate;
      gate = gate * gate * (3 - 2 * gate);
      for (int k = 0; k < SUBS; k++) {
        double *logit = &found[s * SUBS + k][c];
        *logit = OPTIMAL[k] + gate * (*logit - rough[s][k][c]);
      }
    }
/*% endif %*/
  }
}

/*% endif %*/
/* The action of one cell into the caller's arrays, as the guard wants it. Returns whether it had to go without. */
static size_t answered(const @{ name }@_closure *h, double (*found)[BLOCK], int c, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k,
                       void *const *action, int single) {
  const ptrdiff_t place = i * h->out_stride[0] + j * h->out_stride[1] + k * h->out_stride[2];
  const int outside = h->guard != @{ prefix }@_GUARD_OFF && h->outside[(i * h->n[1] + j) * h->n[2] + k];
  int wrong = 0;
  for (int a = 0; a < ANSWERED; a++) wrong |= !is_finite(found[a][c]);
  for (int a = 0; a < ANSWERED; a++)
    stored(action[a], place, single,
           wrong || (outside && h->guard == @{ prefix }@_GUARD_ZERO) ? UNCORRECTED(a) : clipped(found[a][c]));
  return wrong && !outside;
}
