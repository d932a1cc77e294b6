import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { AssertionError } from '../../base/assert.ts'
import { MmError } from '../../base/errno.ts'
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../uapi/mman.ts'
import { ControlBlock, loadKernel, O_CLOEXEC, systemError, systemErrorName, VIEW_MAX } from './ffi.ts'

describe('ControlBlock', () => {
  it('holds addresses and what the kernel writes back', () => {
    const buffer = new ArrayBuffer(64)
    const block = new ControlBlock(buffer, 0x7f00_0000_1000)
    for (const value of [0, 1, 0xffff_ffff, 0x1_0000_0000, 0x7fff_ffff_f000, Number.MAX_SAFE_INTEGER]) {
      block.set(3, value)
      expect([block.get(3), new BigUint64Array(buffer)[3]]).toEqual([value, BigInt(value)])
    }
    new BigInt64Array(buffer)[2] = -17n
    expect(block.get(2)).toBe(-17)
  })
})

describe('systemError()', () => {
  it('names the call, and the number where there is no name', () => {
    expect(systemError(-22, 'UFFDIO_REGISTER', 0x7f00_0000_0000)).toMatchObject({
      code: 'EINVAL',
      syscall: 'UFFDIO_REGISTER',
    })
    expect(systemError(-95, 'memfd_create').message).toContain('memfd_create')
    expect(systemError(-77, 'dup3')).toMatchObject({ code: 'EIO', message: expect.stringContaining('error number 77') })
    expect([systemErrorName(-1), systemErrorName(-77)]).toEqual(['EPERM', 'error 77'])
  })
})

describe.skipIf(process.platform !== 'linux')('Kernel', async () => {
  const kernel = process.platform === 'linux' ? await loadKernel() : (undefined as never)

  it('is loaded once', async () => {
    expect(await loadKernel()).toBe(kernel)
  })

  it('finds views in memory', () => {
    const bytes = new Uint8Array(new ArrayBuffer(4096))
    const addr = kernel.addressOf(bytes)
    expect(kernel.addressOf(bytes.subarray(100))).toBe(addr + 100)
    bytes[8] = 5
    expect(new Uint8Array(kernel.view(addr, 4096))[8]).toBe(5)
  })

  it('maps, advises and unmaps', () => {
    const addr = kernel.mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1)
    expect([addr % 4096, addr > 0]).toEqual([0, true])
    const bytes = new Uint8Array(kernel.view(addr, 8192))
    bytes[4096] = 1
    kernel.madvise(addr, 8192, 4)
    expect(bytes[4096]).toBe(0)
    // Nobody looks at `bytes` after this.
    kernel.munmap(addr, 8192)
    expect(() => kernel.madvise(addr, 8192, 4)).toThrow(MmError)
  })

  it('throws errors that name the call', () => {
    expect(() => kernel.mmap(0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1)).toThrow(
      'EINVAL: invalid argument, mmap',
    )
    expect(() => kernel.fallocate(-1, 0, 0, 4096)).toThrow('EBADF: bad file descriptor, fallocate')
    expect(() => kernel.dup3(-1, 5, 0)).toThrow(/dup3/)
    expect(() => kernel.madvise(1, 4096, 4)).toThrow('madvise 0x1')
    expect(kernel.ioctl(-1, 0)).toBe(-9)
    expect(kernel.pread(-1, kernel.control.addr, 8, 0)).toBe(-9)
  })

  it('refuses views that Node cannot make, instead of dying of them', () => {
    expect(() => kernel.view(4096, VIEW_MAX + 1)).toThrow(AssertionError)
    expect(() => kernel.view(4096, 0)).toThrow(AssertionError)
  })

  it('makes pipes that no child inherits, and replaces descriptors', () => {
    const pipe = kernel.pipe()
    const other = kernel.pipe()
    expect(kernel.read(pipe.read, kernel.control.addr, 1)).toBe(-11)
    kernel.dup3(other.write, pipe.write, O_CLOEXEC)
    const fds = execFileSync('/bin/ls', ['/proc/self/fd'], { encoding: 'utf8' }).split('\n')
    expect(fds.filter((fd) => [pipe.read, other.read].includes(Number(fd)) && fd !== '').length).toBe(0)
    for (const fd of [pipe.read, pipe.write, other.read, other.write]) kernel.close(fd)
    expect(() => kernel.close(pipe.read)).toThrow('EBADF')
  })

  it('sets variables of the environment for native code', () => {
    kernel.setenv('HETMEM_TEST_VARIABLE', 'seen')
    expect(execFileSync('/bin/sh', ['-c', 'echo $HETMEM_TEST_VARIABLE'], { encoding: 'utf8' })).toBe('seen\n')
    expect(process.env['HETMEM_TEST_VARIABLE']).toBe('seen')
  })
})
