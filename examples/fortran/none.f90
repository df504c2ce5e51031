! No closure: what advection.f90 is linked with to run alone.
module closure_of_advection
  use, intrinsic :: iso_fortran_env, only: real64
  implicit none
contains
  subroutine correct(observation, forcing)
    real(real64), intent(in) :: observation(:, :, :)
    real(real64), intent(out) :: forcing(:, :, :)

    forcing = 0 * observation(:, :, :1)
  end subroutine correct
end module closure_of_advection
