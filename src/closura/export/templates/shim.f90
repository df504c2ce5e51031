! Called by closura verify.
subroutine closura_call(n, kinds, observation, action, status) bind(c)
  use, intrinsic :: iso_c_binding, only: c_int, c_double
/*% if pure %*/
  use @{ name }@_pure
/*% else %*/
  use @{ name }@_module
/*% endif %*/
  implicit none
  integer(c_int), intent(in) :: n(@{ axes }@), kinds(@{ axes }@)
  integer(c_int), intent(out) :: status
/*% set shape = "n(1)" if axes == 1 else "n(1), n(2)" if axes == 2 else "n(1), n(2), n(3)" %*/
  real(c_double), intent(in) :: observation(@{ shape }@, @{ observed }@)
  real(c_double), intent(inout) :: action(@{ shape }@, @{ answered }@)
/*% if pure %*/

  status = kinds(1)
  call @{ name }@_apply(int(product(n)), observation, action, status)
/*% else %*/
  type(@{ name }@_type) :: closure

  call closure%init(int(n), status, low=int(kinds), high=int(kinds))
  if (status == @{ name }@_ok) call closure%apply(observation, action, status)
/*% endif %*/
end subroutine closura_call
