! closura_worker: a Fortran program as a solver of closura. Fortran 2008 and POSIX; nothing to link. MIT licence.
!
!   use closura_worker
!   type(worker) :: w
!   integer :: what
!   if (.not. w%open()) stop 1                      ! not started by closura, or another version
!   do
!     what = w%next()
!     if (what == closura_quit) exit
!     if (what == closura_reset) then               ! begin from w%state with w%parameter
!     else                                          ! advance w%state by w%dt, with w%action
!     end if
!     call w%done(failed=.false.)
!   end do
!
! Arrays are (z, y, x, component): the last axis of the grid is the first index, and runs fastest; an axis that the
! grid does not have has one point. With MPI rank 0 does this. Units 5 and 6 stay the program's own.
module closura_worker
  use, intrinsic :: iso_c_binding
  implicit none
  private
  public :: worker, closura_quit, closura_reset, closura_step
  integer, parameter :: closura_quit = 0, closura_reset = iachar('r'), closura_step = iachar('s')

  type :: worker
    integer :: components = 0, dims = 0, n(3) = 1, actions = 0, parameters = 0
    real(c_double), pointer :: state(:,:,:,:) => null(), action(:,:,:,:) => null(), parameter(:) => null()
    real(c_double), pointer :: dt => null()
    integer(c_int), private :: requests = -1, replies = -1
  contains
    procedure :: open => worker_open
    procedure :: next => worker_next
    procedure :: done => worker_done
  end type worker

  interface
    function c_open(path, flags) bind(c, name='open')
      import :: c_int, c_char
      character(kind=c_char), intent(in) :: path(*)
      integer(c_int), value :: flags
      integer(c_int) :: c_open
    end function c_open
    function c_mmap(address, length, protection, flags, file, offset) bind(c, name='mmap')
      import :: c_ptr, c_size_t, c_int, c_long
      type(c_ptr), value :: address
      integer(c_size_t), value :: length
      integer(c_int), value :: protection, flags, file
      integer(c_long), value :: offset
      type(c_ptr) :: c_mmap
    end function c_mmap
    function c_read(file, buffer, length) bind(c, name='read')
      import :: c_int, c_char, c_size_t
      integer(c_int), value :: file
      character(kind=c_char), intent(out) :: buffer(*)
      integer(c_size_t), value :: length
      integer(c_size_t) :: c_read
    end function c_read
    function c_write(file, buffer, length) bind(c, name='write')
      import :: c_int, c_char, c_size_t
      integer(c_int), value :: file
      character(kind=c_char), intent(in) :: buffer(*)
      integer(c_size_t), value :: length
      integer(c_size_t) :: c_write
    end function c_write
  end interface

contains

  logical function worker_open(self)
    class(worker), intent(inout) :: self
    integer(c_int), parameter :: read_write = 2, protection = 3, shared = 1
    integer(c_int64_t), pointer :: header(:)
    character(len=4096) :: path, requests, replies
    integer :: status(3), i
    integer(c_int) :: file
    type(c_ptr) :: memory
    worker_open = .false.
    call get_environment_variable('CLOSURA_MEMORY', path, status=status(1))
    call get_environment_variable('CLOSURA_REQUESTS', requests, status=status(2))
    call get_environment_variable('CLOSURA_REPLIES', replies, status=status(3))
    if (any(status /= 0)) return
    self%requests = pipe(requests, 0_c_int)
    self%replies = pipe(replies, 1_c_int)
    file = c_open(trim(path)//c_null_char, read_write)
    if (file < 0) return
    memory = c_mmap(c_null_ptr, int(128, c_size_t), protection, shared, file, 0_c_long)
    if (transfer(memory, 0_c_intptr_t) == -1) return
    call c_f_pointer(memory, header, [16])
    if (header(1) /= 1129074515_c_int64_t .or. header(2) /= 1) return
    self%components = int(header(3)); self%dims = int(header(4)); self%n = int(header(5:7))
    self%actions = int(header(8)); self%parameters = int(header(9))
    i = int(header(12)) + 8 * self%parameters
    memory = c_mmap(c_null_ptr, int(i, c_size_t), protection, shared, file, 0_c_long)
    if (transfer(memory, 0_c_intptr_t) == -1) return
    associate (n => self%n)
      call c_f_pointer(at(memory, header(10)), self%state, [n(3), n(2), n(1), self%components])
      call c_f_pointer(at(memory, header(11)), self%action, [n(3), n(2), n(1), self%actions])
    end associate
    call c_f_pointer(at(memory, header(12)), self%parameter, [self%parameters])
    call c_f_pointer(at(memory, header(13)), self%dt)
    call self%done(.false.)
    worker_open = .true.
  end function worker_open

  integer function worker_next(self)
    class(worker), intent(in) :: self
    character(kind=c_char) :: request(1)
    worker_next = closura_quit
    if (c_read(self%requests, request, 1_c_size_t) /= 1) return
    if (request(1) == 'r' .or. request(1) == 's') worker_next = iachar(request(1))
  end function worker_next

  subroutine worker_done(self, failed)
    class(worker), intent(in) :: self
    logical, intent(in) :: failed
    if (c_write(self%replies, merge('f', 'k', failed), 1_c_size_t) /= 1) stop 1
  end subroutine worker_done

  integer(c_int) function pipe(name, mode)  ! a descriptor that was inherited, or a path to open
    character(len=*), intent(in) :: name
    integer(c_int), intent(in) :: mode
    if (name(1:1) == '/') then
      pipe = c_open(trim(name)//c_null_char, mode)
    else
      read (name, *) pipe
    end if
  end function pipe

  type(c_ptr) function at(memory, offset)
    type(c_ptr), intent(in) :: memory
    integer(c_int64_t), intent(in) :: offset
    at = transfer(transfer(memory, 0_c_intptr_t) + int(offset, c_intptr_t), c_null_ptr)
  end function at
end module closura_worker
