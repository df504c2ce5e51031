! A ring in a vortex: psi_t + u psi_x + v psi_y = 0 on 64 x 64 points of the periodic unit square, fifth-order upwind
! differences, RK4, time step dx / 4, 100 steps. Prints the error against the exact solution, along characteristics.
!
!   make alone && ./alone              the solver by itself
!   make closed && ./closed            with the closure that `closura export advection --to fortran` wrote
module scheme
  use, intrinsic :: iso_fortran_env, only: real64
  implicit none
  integer, parameter :: n = 64, steps = 100
  real(real64), parameter :: pi = acos(-1.0_real64), dx = 1.0_real64 / n, dt = dx / 4
  ! The derivative, for positive velocities, of the points at offsets -3 to 2.
  real(real64), parameter :: weight(6) = [-1 / 30.0_real64, 1 / 4.0_real64, -1.0_real64, 1 / 3.0_real64, &
                                          1 / 2.0_real64, -1 / 20.0_real64] / dx
contains
  pure function velocity(place) result(u)
    real(real64), intent(in) :: place(2)
    real(real64) :: u(2)

    u = [sin(pi * place(1))**2 * sin(2 * pi * place(2)), -sin(pi * place(2))**2 * sin(2 * pi * place(1))]
  end function velocity

  ! A stroke of 0.12 around (0.5, 0.3), its edges 0.03 wide.
  pure real(real64) function ring(place)
    real(real64), intent(in) :: place(2)

    ring = 0.5 - (abs(norm2(place - [0.5_real64, 0.3_real64]) - 0.16_real64) - 0.06_real64) / 0.03_real64
    ring = min(max(ring, 0.0_real64), 1.0_real64)
  end function ring

  ! Back along the path that ends here, by RK4.
  pure real(real64) function exact(place, time)
    real(real64), intent(in) :: place(2), time
    integer, parameter :: parts = 400
    real(real64) :: x(2), k1(2), k2(2), k3(2), k4(2), h
    integer :: part

    x = place
    h = -time / parts
    do part = 1, parts
      k1 = velocity(x)
      k2 = velocity(x + h / 2 * k1)
      k3 = velocity(x + h / 2 * k2)
      k4 = velocity(x + h * k3)
      x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    end do
    exact = ring(x)
  end function exact

  ! -u psi_x - v psi_y
  pure function tendency(psi, u, v) result(change)
    real(real64), intent(in) :: psi(n, n), u(n, n), v(n, n)
    real(real64) :: change(n, n), left(n, n), right(n, n)
    integer :: k

    change = 0
    do k = 1, 6
      left = cshift(psi, k - 4, 1)
      right = cshift(psi, 4 - k, 1)
      change = change - weight(k) * u * merge(left, -right, u > 0)
      left = cshift(psi, k - 4, 2)
      right = cshift(psi, 4 - k, 2)
      change = change - weight(k) * v * merge(left, -right, v > 0)
    end do
  end function tendency
end module scheme

program advection
  use scheme
  use closure_of_advection
  implicit none
  real(real64) :: psi(n, n), stage(n, n), wanted(n, n), observation(n, n, 3), forcing(n, n, 1)
  integer :: i, j, number, order

  do j = 1, n
    do i = 1, n
      psi(i, j) = ring([i - 1, j - 1] * dx)
      observation(i, j, 2:3) = velocity([i - 1, j - 1] * dx)
      wanted(i, j) = exact([i - 1, j - 1] * dx, steps * dt)
    end do
  end do
  do number = 1, steps
    observation(:, :, 1) = psi
    call correct(observation, forcing)
    psi = psi - forcing(:, :, 1)
    stage = psi
    do order = 4, 1, -1 ! RK4 of a linear equation, by Horner's rule
      stage = psi + dt / order * tendency(stage, observation(:, :, 2), observation(:, :, 3))
    end do
    psi = stage
  end do
  write (*, '(f6.2, a, f6.2, a)') 100 * sum(abs(psi - wanted)) / n**2, ' % mean absolute error,', &
    100 * sum(abs(psi - wanted)) / sum(abs(wanted)), ' % of the field'
end program advection
