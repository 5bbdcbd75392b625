program sum_up
  implicit none
  real(8) :: a(200,200), b(200,200), c(200,200)
  integer :: i, j
  do j = 1, 200
    do i = 1, 200
      a(i,j) = i + j
      b(i,j) = i - j
    end do
  end do
  c = matmul(a, b)
  print '(F14.2)', sum(c)
  open(unit=10, file='/tmp/fortran-test-file', status='replace')
  write(10,*) 17
  rewind(10)
  read(10,*) i
  close(10, status='delete')
  print *, i
  print *, applied(plus_i, 4)  ! an internal procedure as an argument is code on the stack
contains
  integer function plus_i(n)
    integer, intent(in) :: n
    plus_i = n + i
  end function
  integer function applied(f, n)
    interface
      integer function f(n)
        integer, intent(in) :: n
      end function
    end interface
    integer, intent(in) :: n
    applied = f(n)
  end function
end program
