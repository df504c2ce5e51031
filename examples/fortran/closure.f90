! The exported closure: what advection.f90 is linked with to run corrected.
module closure_of_advection
  use, intrinsic :: iso_fortran_env, only: real64
  use advection_module
  implicit none
  type(advection_type), save :: closure
  logical, save :: begun = .false.
contains
  subroutine correct(observation, forcing)
    real(real64), intent(in), contiguous :: observation(:, :, :)
    real(real64), intent(inout), contiguous :: forcing(:, :, :)
    integer :: status

    if (.not. begun) then
      call closure%init(shape(observation(:, :, 1)), status)
      if (status /= advection_ok) error stop 'the closure cannot begin'
      begun = .true.
    end if
    call closure%apply(observation, forcing, status)
    if (status /= advection_ok) error stop 'the closure does not answer'
  end subroutine correct
end module closure_of_advection
