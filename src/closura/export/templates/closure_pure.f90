! @{ title }@, in Fortran 2008 alone.
!
! @{ about }@
!
! Observation, in this order, in the units of the simulation:
/*% for line in observation_lines %*/
!   @{ line }@
/*% endfor %*/
! Answer:
/*% for line in action_lines %*/
!   @{ line }@
/*% endfor %*/
!
! @{ how_to_apply }@
!
! Made for @{ made_for }@. Card: @{ name }@.json.
!
!   real(real64) :: observation(n, @{ observed }@), action(n, @{ answered }@)     ! or of more axes, the channel last
!   call @{ name }@_apply(n, observation, action, status)
!   call @{ name }@_cell(seen, answer)                                ! or one @{ place }@ at a time
!
! It sees each @{ place }@ alone: grids, boundaries and ghost cells are the caller's. There is no state.
module @{ name }@_pure
  use, intrinsic :: iso_fortran_env, only: int64, real64, wp => @{ kind }@
  implicit none
  private
  public :: @{ name }@_apply, @{ name }@_cell

  integer, parameter, public :: @{ name }@_observed = @{ observed }@
  integer, parameter, public :: @{ name }@_answered = @{ answered }@
  integer, parameter, public :: @{ name }@_ok = 0
  integer, parameter, public :: @{ name }@_not_finite = 4
  integer, parameter, public :: @{ name }@_no_range = 5
  integer, parameter, public :: @{ name }@_guard_off = 0
  integer, parameter, public :: @{ name }@_guard_clip = 1
  integer, parameter, public :: @{ name }@_guard_zero = 2
  character(*), parameter, public :: @{ name }@_hash = &
    "@{ hash }@"

  logical, parameter :: has_range = @{ ".true." if has_range else ".false." }@
  real(real64), parameter :: lowest(@{ observed }@) = @{ lowest }@
  real(real64), parameter :: highest(@{ observed }@) = @{ highest }@
  real(real64), parameter :: uncorrected(@{ answered }@) = @{ uncorrected }@
/*% if guided %*/
  real(real64), parameter :: tau_weights(@{ subs }@) = @{ tau }@
  real(real64), parameter :: optimal(@{ subs }@) = @{ optimal }@
  ! forms(:, :, k): smoothness of sub-stencil k as a quadratic form of its differences
  real(real64), parameter :: forms(@{ subs - 1 }@, @{ subs - 1 }@, @{ subs }@) = reshape(@{ forms }@, &
    [@{ subs - 1 }@, @{ subs - 1 }@, @{ subs }@])
  real(real64), parameter :: small = @{ tiny }@
/*% endif %*/
/*% for l in layers %*/
  real(wp), save, protected :: weight_@{ loop.index }@(@{ l.outputs }@, @{ l.inputs }@), bias_@{ loop.index }@(@{ l.outputs }@)
/*% endfor %*/
/*% for l in layers %*/
  data bias_@{ loop.index }@ / &
@{ l.bias }@/
/*% set number = loop.index %*/
/*% for column in l.columns %*/
  data weight_@{ number }@(:, @{ loop.index }@) / &
@{ column }@/
/*% endfor %*/
/*% endfor %*/

contains

  ! Each of count @{ place }@s. guard: what to do outside of the range of the training data (clip, or correct nothing);
  ! outside: how many were.
  subroutine @{ name }@_apply(count, observation, action, status, guard, outside)
    integer, intent(in) :: count
    real(real64), intent(in) :: observation(count, @{ observed }@)
    real(real64), intent(inout) :: action(count, @{ answered }@)
    integer, intent(out) :: status
    integer, intent(in), optional :: guard
    integer, intent(out), optional :: outside
    real(real64) :: seen(@{ observed }@), answer(@{ answered }@)
    integer :: i, mode, beyond, wrong
    logical :: out, lost

    status = @{ name }@_ok
    mode = @{ name }@_guard_off
    if (present(guard)) mode = guard
    if (present(outside)) outside = 0
    if (mode /= @{ name }@_guard_off .and. .not. has_range) then
      status = @{ name }@_no_range
      return
    end if
    beyond = 0
    wrong = 0
    !$omp parallel do private(seen, answer, out, lost) reduction(+: beyond, wrong)
    do i = 1, count
      seen = observation(i, :)
      lost = .not. all(is_finite(seen) .and. abs(seen) <= real(huge(1.0_wp), real64))
      out = lost
      if (lost) where (.not. (is_finite(seen) .and. abs(seen) <= real(huge(1.0_wp), real64))) seen = 0
      if (mode /= @{ name }@_guard_off) then
        out = out .or. any(seen < lowest .or. seen > highest)
        seen = min(max(seen, lowest), highest)
        lost = .false.
      end if
      call @{ name }@_cell(seen, answer)
      lost = lost .or. .not. all(is_finite(answer))
      if (lost .or. (out .and. mode == @{ name }@_guard_zero)) answer = uncorrected
      action(i, :) = answer
      if (lost) wrong = wrong + 1
      if (lost .or. out) beyond = beyond + 1
    end do
    !$omp end parallel do
    if (mode /= @{ name }@_guard_off) then
      if (present(outside)) outside = beyond
    else if (wrong > 0) then
      status = @{ name }@_not_finite
      action = spread(uncorrected, 1, count)
    end if
  end subroutine @{ name }@_apply

/*% if guided %*/
  ! The logits of one interface: both sides by the network of one (plus side first), after a classical scheme.
  pure subroutine @{ name }@_cell(seen, answer)
    real(real64), intent(in) :: seen(@{ observed }@)
    real(real64), intent(out) :: answer(@{ answered }@)
    integer, parameter :: points = @{ 2 * subs - 1 }@
    real(real64) :: stencil(points, 2), beta(@{ subs }@, 2), contrast(2), rough(@{ subs }@), part(2), learned(@{ subs }@)
    real(real64) :: gate
    real(wp) :: x(@{ layers[0].inputs }@)
    integer :: side

    stencil = reshape(seen(:2 * points), [points, 2])
    part = 1
    do side = 1, 2
      call smoothness(stencil(:, side), beta(:, side), contrast(side))
/*% if sizes %*/
      part(side) = seen(2 * points + side)**2 / (seen(2 * points + side)**2 + (1 - seen(2 * points + side))**2)
/*% endif %*/
    end do
    do side = 1, 2
      rough = @{ power }@ * log(beta(:, side) / (sum(beta(:, side)) / @{ subs }@ + small) + @{ softening }@)
      gate = part(side) * contrast(side) + (1 - part(side)) * contrast(3 - side)
      gate = (gate - log(@{ closed }@)) / log(@{ opened }@ / @{ closed }@)
      if (gate < 0) gate = 0
      if (gate > 1) gate = 1
      gate = gate * gate * (3 - 2 * gate)
      x(:points) = real(stencil(:, side), wp)
      x(points + 1:2 * points) = real(stencil(:, 3 - side), wp)
/*% if sizes %*/
      x(2 * points + 1) = real(seen(2 * points + side), wp)
/*% endif %*/
      x(2 * points + @{ 1 + sizes }@:) = real(rough, wp)
      call learn(x, learned)
      answer((side - 1) * @{ subs }@ + 1:side * @{ subs }@) = optimal + gate * (learned - rough)
    end do
  end subroutine @{ name }@_cell

  ! Smoothness indicators of the sub-stencils, and the logarithm of their contrast.
  pure subroutine smoothness(stencil, beta, contrast)
    real(real64), intent(in) :: stencil(:)
    real(real64), intent(out) :: beta(@{ subs }@), contrast
    real(real64) :: steps(@{ 2 * subs - 2 }@), tau
    integer :: k

    steps = stencil(2:) - stencil(:size(stencil) - 1)
    do k = 1, @{ subs }@
      beta(k) = max(dot_product(steps(k:k + @{ subs - 2 }@), matmul(forms(:, :, k), steps(k:k + @{ subs - 2 }@))), 0.0_real64)
    end do
    tau = abs(dot_product(tau_weights, beta))
    contrast = log1p(tau / (minval(beta) + small)) - log1p(tau / (maxval(beta) + small))
  end subroutine smoothness

  ! log(1 + x) without loss of digits (Goldberg 1991, theorem 4).
  pure real(real64) function log1p(x)
    real(real64), intent(in) :: x
    real(real64) :: rounded

    rounded = 1 + x
    log1p = x
    if (rounded /= 1 .and. rounded <= huge(x)) log1p = log(rounded) * (x / (rounded - 1))
  end function log1p
/*% elif weighs %*/
  pure subroutine @{ name }@_cell(seen, answer)
    real(real64), intent(in) :: seen(@{ observed }@)
    real(real64), intent(out) :: answer(@{ answered }@)

    call learn(real(seen, wp), answer)
  end subroutine @{ name }@_cell
/*% else %*/
  pure subroutine @{ name }@_cell(seen, answer)
    real(real64), intent(in) :: seen(@{ observed }@)
    real(real64), intent(out) :: answer(@{ answered }@)
    real(wp) :: y(@{ answered }@)

    call network(real(seen, wp), y)
    answer = @{ factor }@ * real(y, real64)
/*% if bounded %*/
    where (is_finite(answer)) answer = min(max(answer, -@{ bound }@), @{ bound }@)
/*% endif %*/
  end subroutine @{ name }@_cell
/*% endif %*/

/*% if weighs %*/
  ! The network's answer/*% if even %*/, averaged over the sign of the stencils/*% endif %*//*% if limited %*/, limited/*% endif %*/.
  pure subroutine learn(x, learned)
    real(wp), intent(in) :: x(@{ layers[0].inputs }@)
    real(real64), intent(out) :: learned(@{ layers[-1].width }@)
    real(wp) :: y(@{ layers[-1].width }@)

    call network(x, y)
    learned = real(y, real64)
/*% if even %*/
    call network([-x(:@{ 4 * subs - 2 }@), x(@{ 4 * subs - 1 }@:)], y)
    learned = (learned + real(y, real64)) / 2
/*% endif %*/
/*% if limited %*/
    learned = @{ largest }@ * tanh(learned / @{ largest }@)
/*% endif %*/
  end subroutine learn

/*% endif %*/
  pure subroutine network(x, y)
    real(wp), intent(in) :: x(@{ layers[0].inputs }@)
    real(wp), intent(out) :: y(@{ layers[-1].width }@)
/*% for l in layers %*/
    real(wp) :: y@{ loop.index }@(@{ l.outputs }@)
/*% endfor %*/
    integer :: i

/*% for l in layers %*/
/*% set n = loop.index %*/
/*% set before = "x" if loop.first else "y" ~ (n - 1) %*/
    y@{ n }@ = bias_@{ n }@
    do i = 1, @{ l.inputs }@
      y@{ n }@ = y@{ n }@ + @{ before }@(i) * weight_@{ n }@(:, i)
    end do
/*% if l.activation == "relu" %*/
    y@{ n }@ = merge(y@{ n }@, 0.0_wp, y@{ n }@ > 0)
/*% elif l.activation == "gelu" %*/
    y@{ n }@ = 0.5_wp * y@{ n }@ * (1 + tanh(0.7978845608028654_wp * (y@{ n }@ + 0.044715_wp * y@{ n }@**3)))
/*% elif l.activation == "silu" %*/
    y@{ n }@ = y@{ n }@ / (1 + exp(-y@{ n }@))
/*% elif l.activation == "tanh" %*/
    y@{ n }@ = tanh(y@{ n }@)
/*% elif l.activation == "glu" %*/
    y@{ n }@(:@{ l.width }@) = y@{ n }@(:@{ l.width }@) / (1 + exp(-y@{ n }@(@{ l.width + 1 }@:)))
/*% elif l.activation == "bilinear" %*/
    y@{ n }@(:@{ l.width }@) = y@{ n }@(:@{ l.width }@) * y@{ n }@(@{ l.width + 1 }@:)
/*% endif %*/
/*% endfor %*/
    y = y@{ layers | length }@(:@{ layers[-1].width }@)
  end subroutine network

  ! By the bits, so that optimising compilers do not take it away.
  elemental logical function is_finite(x)
    real(real64), intent(in) :: x

    is_finite = iand(shiftr(transfer(x, 0_int64), 52), 2047_int64) /= 2047_int64
  end function is_finite
end module @{ name }@_pure
