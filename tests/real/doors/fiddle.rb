require 'fiddle'
libc = Fiddle.dlopen('libc.so.6')
int, size, pointer = Fiddle::TYPE_INT, Fiddle::TYPE_SIZE_T, Fiddle::TYPE_VOIDP
get = Fiddle::Function.new(libc['shmget'], [int, size, int], int)
attach = Fiddle::Function.new(libc['shmat'], [int, pointer, int], pointer)
detach = Fiddle::Function.new(libc['shmdt'], [pointer], int)
id = get.call(ARGV[0].to_i, 4096, 0o1600)
abort 'shmget' if id < 0
at = attach.call(id, nil, 0)
text = "by ruby-fiddle\0"
at[0, text.size] = text
abort 'shmdt' unless detach.call(at).zero?
print id
