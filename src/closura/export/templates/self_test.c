/* Self-test of @{ name }@: observations of the training problem and the actions that closura computed from them. */
#include "@{ name }@.h"

#include <math.h>
#include <stdio.h>

/*% for array in test_arrays %*/
static const double @{ array.name }@@{ array.shape }@ = {
@{ array.text }@};
/*% endfor %*/

int main(void) {
  static double action[@{ prefix }@_ANSWERED][@{ test_cells }@];
  const double *seen[@{ prefix }@_OBSERVED];
  double *done[@{ prefix }@_ANSWERED], largest = 0, error = 0;
  @{ name }@_grid grid = {.n = {/*% for n in test_shape %*/@{ n }@/*% if not loop.last %*/, /*% endif %*//*% endfor %*/}};
  @{ name }@_closure *closure;
  for (int a = 0; a < @{ prefix }@_AXES; a++) grid.low[a] = grid.high[a] = @{ test_boundary }@;
  for (int c = 0; c < @{ prefix }@_OBSERVED; c++) seen[c] = OBSERVATION[c];
  for (int a = 0; a < @{ prefix }@_ANSWERED; a++) done[a] = action[a];
  int status = @{ name }@_init(&closure, &grid);
  if (status == @{ prefix }@_OK) status = @{ name }@_apply(closure, seen, done);
  if (status != @{ prefix }@_OK) {
    printf("@{ name }@: %s\n", @{ name }@_message(status));
    return 1;
  }
  for (int a = 0; a < @{ prefix }@_ANSWERED; a++)
    for (int i = 0; i < @{ test_cells }@; i++) {
      if (fabs(ACTION[a][i]) > largest) largest = fabs(ACTION[a][i]);
      if (!(fabs(action[a][i] - ACTION[a][i]) <= error)) error = fabs(action[a][i] - ACTION[a][i]);
    }
  @{ name }@_free(closure);
  printf("@{ name }@: largest difference %.1e of the largest action\n", error / largest);
  return !(error <= @{ tolerance }@ * largest);
}
