! @{ title }@, for Fortran 2008.
! Link with @{ name }@.o; what is observed and answered stands in
! @{ name }@.h.
!
!   type(@{ name }@_type) :: closure
!   call closure%init(n, status)                      ! periodic, arrays of exactly this size
!   call closure%apply(observation, action, status)   ! (axis 1, ..., channel): first index fastest
!
! The arrays are Fortran's: the first index runs along x. Ghost cells: init with low, high and halo.
module @{ name }@_module
  use, intrinsic :: iso_c_binding
  implicit none
  private

  integer, parameter, public :: @{ name }@_axes = @{ axes }@
  integer, parameter, public :: @{ name }@_observed = @{ observed }@
  integer, parameter, public :: @{ name }@_answered = @{ answered }@
  integer, parameter, public :: @{ name }@_halo = @{ halo }@
  integer, parameter, public :: @{ name }@_ok = 0
  integer, parameter, public :: @{ name }@_not_finite = 4
  integer, parameter, public :: @{ name }@_no_range = 5
  integer, parameter, public :: @{ name }@_periodic = 0
  integer, parameter, public :: @{ name }@_outflow = 1
  integer, parameter, public :: @{ name }@_halo_cells = 2
  integer, parameter, public :: @{ name }@_guard_off = 0
  integer, parameter, public :: @{ name }@_guard_clip = 1
  integer, parameter, public :: @{ name }@_guard_zero = 2

  type, bind(c) :: grid_type
    integer(c_size_t) :: n(@{ axes }@)
    integer(c_int) :: low(@{ axes }@), high(@{ axes }@)
    integer(c_intptr_t) :: stride(@{ axes }@), out_stride(@{ axes }@)
  end type grid_type

  type, public :: @{ name }@_type
    private
    type(c_ptr) :: handle = c_null_ptr
    integer :: n(@{ axes }@) = 0, ghosts = 0
  contains
    procedure, public :: init
    procedure, public :: apply
    procedure, public :: guard
    procedure, public :: outside
    procedure, public :: outside_total
    final :: finish
  end type @{ name }@_type

  interface
    function c_init(handle, grid) bind(c, name="@{ name }@_init") result(status)
      import :: c_ptr, c_int, grid_type
      type(c_ptr), intent(out) :: handle
      type(grid_type), intent(in) :: grid
      integer(c_int) :: status
    end function c_init
    subroutine c_free(handle) bind(c, name="@{ name }@_free")
      import :: c_ptr
      type(c_ptr), value :: handle
    end subroutine c_free
    function c_apply(handle, observation, action) &
        bind(c, name="@{ name }@_apply") result(status)
      import :: c_ptr, c_int
      type(c_ptr), value :: handle
      type(c_ptr), intent(in) :: observation(*), action(*)
      integer(c_int) :: status
    end function c_apply
    function c_apply_noise(handle, observation, noise, action) &
        bind(c, name="@{ name }@_apply_noise") result(status)
      import :: c_ptr, c_int
      type(c_ptr), value :: handle
      type(c_ptr), intent(in) :: observation(*), noise(*), action(*)
      integer(c_int) :: status
    end function c_apply_noise
    function c_guard(handle, mode) bind(c, name="@{ name }@_guard") result(status)
      import :: c_ptr, c_int
      type(c_ptr), value :: handle
      integer(c_int), value :: mode
      integer(c_int) :: status
    end function c_guard
    function c_outside_total(handle) bind(c, name="@{ name }@_outside_total") result(cells)
      import :: c_ptr, c_size_t
      type(c_ptr), value :: handle
      integer(c_size_t) :: cells
    end function c_outside_total
    function c_outside(handle) bind(c, name="@{ name }@_outside") result(cells)
      import :: c_ptr, c_size_t
      type(c_ptr), value :: handle
      integer(c_size_t) :: cells
    end function c_outside
  end interface

contains

  ! n: cells along each axis, without ghost cells. low, high: boundaries at the two ends (default: periodic).
  ! ghosts: ghost cells that the observation arrays have at both ends of every axis (default: none).
  subroutine init(self, n, status, low, high, ghosts)
    class(@{ name }@_type), intent(inout) :: self
    integer, intent(in) :: n(@{ axes }@)
    integer, intent(out) :: status
    integer, intent(in), optional :: low(@{ axes }@), high(@{ axes }@), ghosts
    type(grid_type) :: grid
    integer :: axis

    if (c_associated(self%handle)) call c_free(self%handle)
    self%handle = c_null_ptr
    self%n = n
    self%ghosts = 0
    if (present(ghosts)) self%ghosts = ghosts
    grid%n = int(n, c_size_t)
    grid%low = @{ name }@_periodic
    grid%high = @{ name }@_periodic
    if (present(low)) grid%low = int(low, c_int)
    if (present(high)) grid%high = int(high, c_int)
    grid%stride(1) = 1
    grid%out_stride(1) = 1
    do axis = 2, @{ axes }@
      grid%stride(axis) = grid%stride(axis - 1) * (n(axis - 1) + 2 * self%ghosts)
      grid%out_stride(axis) = grid%out_stride(axis - 1) * n(axis - 1)
    end do
    if (any(n < 1)) then
      status = 2
      return
    end if
    status = c_init(self%handle, grid)
  end subroutine init

  ! observation(1 - ghosts : n + ghosts, ..., channel), action(n, ..., channel), noise as action.
  subroutine apply(self, observation, action, status, noise)
    class(@{ name }@_type), intent(in) :: self
    real(c_double), intent(in), target, contiguous :: observation(/*% for a in range(axes + 1) %*/:/*% if not loop.last %*/, /*% endif %*//*% endfor %*/)
    real(c_double), intent(inout), target, contiguous :: action(/*% for a in range(axes + 1) %*/:/*% if not loop.last %*/, /*% endif %*//*% endfor %*/)
    integer, intent(out) :: status
    real(c_double), intent(in), optional, target, contiguous :: noise(/*% for a in range(axes + 1) %*/:/*% if not loop.last %*/, /*% endif %*//*% endfor %*/)
    type(c_ptr) :: seen(@{ observed }@), done(@{ answered }@), random(@{ answered }@)
    integer :: channel, axis

    status = 1
    if (.not. c_associated(self%handle)) return
    do axis = 1, @{ axes }@
      if (size(observation, axis) /= self%n(axis) + 2 * self%ghosts) return
      if (size(action, axis) /= self%n(axis)) return
      if (present(noise)) then
        if (size(noise, axis) /= self%n(axis)) return
      end if
    end do
    if (size(observation, @{ axes + 1 }@) /= @{ observed }@ .or. size(action, @{ axes + 1 }@) /= @{ answered }@) return
    do channel = 1, @{ observed }@
      seen(channel) = c_loc(observation(/*% for a in range(axes) %*/1 + self%ghosts, /*% endfor %*/channel))
    end do
    do channel = 1, @{ answered }@
      done(channel) = c_loc(action(/*% for a in range(axes) %*/1, /*% endfor %*/channel))
    end do
    if (present(noise)) then
      if (size(noise, @{ axes + 1 }@) /= @{ answered }@) return
      do channel = 1, @{ answered }@
        random(channel) = c_loc(noise(/*% for a in range(axes) %*/1, /*% endfor %*/channel))
      end do
      status = c_apply_noise(self%handle, seen, random, done)
    else
      status = c_apply(self%handle, seen, done)
    end if
  end subroutine apply

  subroutine guard(self, mode, status)
    class(@{ name }@_type), intent(in) :: self
    integer, intent(in) :: mode
    integer, intent(out) :: status
    status = c_guard(self%handle, int(mode, c_int))
  end subroutine guard

  ! Cells of the last call whose observation was outside of the range of the training data.
  integer function outside(self)
    class(@{ name }@_type), intent(in) :: self
    outside = int(c_outside(self%handle))
  end function outside

  ! The same in all calls.
  integer(c_size_t) function outside_total(self)
    class(@{ name }@_type), intent(in) :: self
    outside_total = c_outside_total(self%handle)
  end function outside_total

  subroutine finish(self)
    type(@{ name }@_type), intent(inout) :: self
    if (c_associated(self%handle)) call c_free(self%handle)
    self%handle = c_null_ptr
  end subroutine finish
end module @{ name }@_module
