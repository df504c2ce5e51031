/* @{ title }@
 *
 * @{ about }@
 *
 * Observation, in this order, in the units of the simulation:
/*% for line in observation_lines %*/
 *   @{ line }@
/*% endfor %*/
 * Answer:
/*% for line in action_lines %*/
 *   @{ line }@
/*% endfor %*/
 *
 * @{ how_to_apply }@
 *
 * Made for @{ made_for }@. Card: @{ name }@.json.
 *
 *   @{ name }@_closure *closure;
 *   @{ name }@_grid grid = {.n = {/*% for n in example %*/@{ n }@/*% if not loop.last %*/, /*% endif %*//*% endfor %*/}};      // periodic, contiguous, last axis fastest
 *   if (@{ name }@_init(&closure, &grid) != @{ prefix }@_OK) ...
 *   @{ name }@_apply(closure, observation, action);
 *   @{ name }@_free(closure);
 *
 * Nothing is allocated after init and there is no global state: use one closure for each thread that calls. With OpenMP
 * a call uses the threads that were available at init.
 */
#ifndef @{ prefix }@_CLOSURE_H
#define @{ prefix }@_CLOSURE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define @{ prefix }@_AXES @{ axes }@
#define @{ prefix }@_OBSERVED @{ observed }@ /* channels of the observation */
#define @{ prefix }@_ANSWERED @{ answered }@ /* channels of the action */
#define @{ prefix }@_HALO @{ halo }@     /* ghost cells at each end of an axis that has a halo; exchanged once a call */
#define @{ prefix }@_NOISE @{ noise }@    /* 1 if apply_noise adds noise */
#define @{ prefix }@_RANGE @{ has_range }@    /* 1 if the range of the training data is known (guard) */
#define @{ prefix }@_HASH "@{ hash }@" /* of the weights */

enum { /* status */
  @{ prefix }@_OK = 0,
  @{ prefix }@_BAD_ARGUMENT = 1, /* a null pointer */
  @{ prefix }@_BAD_GRID = 2,     /* a size below 1 or above 2^26, an unknown boundary, or a periodic one at one end only */
  @{ prefix }@_NO_MEMORY = 3,
  @{ prefix }@_NOT_FINITE = 4,   /* the observation or the answer to it is not; nothing is corrected */
  @{ prefix }@_NO_RANGE = 5      /* the guard needs a range, and none is known */
};

enum { /* what lies beyond an end of an axis */
  @{ prefix }@_PERIODIC = 0,
  @{ prefix }@_OUTFLOW = 1, /* the last cell is repeated */
  @{ prefix }@_HALO_CELLS = 2 /* @{ prefix }@_HALO ghost cells that the caller has filled */
};

enum { /* what is done about observations outside of the range of the training data */
  @{ prefix }@_GUARD_OFF = 0,
  @{ prefix }@_GUARD_CLIP = 1, /* they are clipped to the range */
  @{ prefix }@_GUARD_ZERO = 2  /* their cells are not corrected */
};

typedef struct {
  size_t n[@{ prefix }@_AXES];                        /* cells along each axis, without ghost cells */
  int low[@{ prefix }@_AXES], high[@{ prefix }@_AXES];      /* boundaries at the two ends of each axis */
  ptrdiff_t stride[@{ prefix }@_AXES];                /* of observations, in elements; all zero: contiguous, last axis fastest */
  ptrdiff_t out_stride[@{ prefix }@_AXES];            /* of actions; all zero: contiguous */
} @{ name }@_grid;

typedef struct @{ name }@_closure @{ name }@_closure;

int @{ name }@_init(@{ name }@_closure **closure, const @{ name }@_grid *grid);
void @{ name }@_free(@{ name }@_closure *closure);

/* Pointers to the first cell (no ghost cell) of each channel. */
int @{ name }@_apply(@{ name }@_closure *closure, const double *const observation[@{ prefix }@_OBSERVED],
                    double *const action[@{ prefix }@_ANSWERED]);
int @{ name }@_apply_float(@{ name }@_closure *closure, const float *const observation[@{ prefix }@_OBSERVED],
                          float *const action[@{ prefix }@_ANSWERED]);
/* The same plus the spread of the actions times the caller's standard normal numbers (laid out as the actions are);
   without noise in the closure it is the same as apply. */
int @{ name }@_apply_noise(@{ name }@_closure *closure, const double *const observation[@{ prefix }@_OBSERVED],
                          const double *const noise[@{ prefix }@_ANSWERED], double *const action[@{ prefix }@_ANSWERED]);

int @{ name }@_guard(@{ name }@_closure *closure, int guard);
/* Cells outside of the range: in the last call, and in all calls. */
size_t @{ name }@_outside(const @{ name }@_closure *closure);
size_t @{ name }@_outside_total(const @{ name }@_closure *closure);
const char *@{ name }@_message(int status);

#ifdef __cplusplus
}
#endif
#endif
