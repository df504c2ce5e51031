/* A ring in a vortex: psi_t + u psi_x + v psi_y = 0 on 64 x 64 points of the periodic unit square, fifth-order upwind
 * differences, RK4, time step dx / 4, 100 steps. Prints the error against the exact solution, along characteristics.
 *
 *   make alone && ./alone              the solver by itself
 *   make closed && ./closed            the same with the closure that `closura export advection --out closure` wrote */
#include <math.h>
#include <stdio.h>
#include <string.h>
#ifdef CLOSURE
#include "advection.h"
#endif

enum { N = 64, STEPS = 100 };
static const double PI = 3.14159265358979323846, DX = 1.0 / N, DT = 0.25 / N;
typedef double field[N][N]; /* [x][y] */

static double velocity_x(double x, double y) { return sin(PI * x) * sin(PI * x) * sin(2 * PI * y); }
static double velocity_y(double x, double y) { return -sin(PI * y) * sin(PI * y) * sin(2 * PI * x); }

static double ring(double x, double y) { /* a stroke of 0.12 around (0.5, 0.3), its edges 0.03 wide */
  const double distance = fabs(hypot(x - 0.5, y - 0.3) - 0.16) - 0.06;
  return fmin(fmax(0.5 - distance / 0.03, 0), 1);
}

static double exact(double x, double y, double time) { /* back along the path that ends here, by RK4 */
  const int steps = 400;
  const double h = -time / steps;
  for (int s = 0; s < steps; s++) {
    const double u1 = velocity_x(x, y), v1 = velocity_y(x, y);
    const double u2 = velocity_x(x + h / 2 * u1, y + h / 2 * v1), v2 = velocity_y(x + h / 2 * u1, y + h / 2 * v1);
    const double u3 = velocity_x(x + h / 2 * u2, y + h / 2 * v2), v3 = velocity_y(x + h / 2 * u2, y + h / 2 * v2);
    const double u4 = velocity_x(x + h * u3, y + h * v3), v4 = velocity_y(x + h * u3, y + h * v3);
    x += h / 6 * (u1 + 2 * u2 + 2 * u3 + u4), y += h / 6 * (v1 + 2 * v2 + 2 * v3 + v4);
  }
  return ring(x, y);
}

/* The derivative by five points upstream and one further: offsets -3 to 2 for positive velocities, mirrored else. */
static double upwind(const double q[6], double velocity) {
  static const double weight[6] = {-1. / 30, 1. / 4, -1, 1. / 3, 1. / 2, -1. / 20};
  double sum = 0;
  for (int k = 0; k < 6; k++) sum += weight[k] * q[k];
  return (velocity > 0 ? sum : -sum) / DX;
}

static void tendency(field psi, field u, field v, field change) {
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      double along_x[6], along_y[6];
      for (int k = 0; k < 6; k++) {
        along_x[k] = psi[(i + (u[i][j] > 0 ? k - 3 : 3 - k) + N) % N][j];
        along_y[k] = psi[i][(j + (v[i][j] > 0 ? k - 3 : 3 - k) + N) % N];
      }
      change[i][j] = -u[i][j] * upwind(along_x, u[i][j]) - v[i][j] * upwind(along_y, v[i][j]);
    }
}

static void step(field psi, field u, field v) { /* RK4 of a linear equation, by Horner's rule */
  static field stage, change;
  memcpy(stage, psi, sizeof stage);
  for (int order = 4; order > 0; order--) {
    tendency(stage, u, v, change);
    for (int i = 0; i < N; i++)
      for (int j = 0; j < N; j++) stage[i][j] = psi[i][j] + DT / order * change[i][j];
  }
  memcpy(psi, stage, sizeof stage);
}

int main(void) {
  static field psi, u, v;
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      psi[i][j] = ring(i * DX, j * DX);
      u[i][j] = velocity_x(i * DX, j * DX), v[i][j] = velocity_y(i * DX, j * DX);
    }
#ifdef CLOSURE
  static field forcing;
  advection_closure *closure;
  const advection_grid grid = {.n = {N, N}}; /* periodic, contiguous */
  const double *observation[ADVECTION_OBSERVED] = {&psi[0][0], &u[0][0], &v[0][0]};
  double *action[ADVECTION_ANSWERED] = {&forcing[0][0]};
  int status = advection_init(&closure, &grid);
#endif
  for (int n = 0; n < STEPS; n++) {
#ifdef CLOSURE
    if (status == ADVECTION_OK) status = advection_apply(closure, observation, action);
    if (status != ADVECTION_OK) return fprintf(stderr, "%s\n", advection_message(status)), 1;
    for (int i = 0; i < N; i++)
      for (int j = 0; j < N; j++) psi[i][j] -= forcing[i][j];
#endif
    step(psi, u, v);
  }
#ifdef CLOSURE
  advection_free(closure);
#endif
  double error = 0, size = 0;
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      const double wanted = exact(i * DX, j * DX, STEPS * DT);
      error += fabs(psi[i][j] - wanted), size += fabs(wanted);
    }
  printf("%.2f %% mean absolute error, %.2f %% of the field\n", 100 * error / (N * N), 100 * error / size);
  return 0;
}
