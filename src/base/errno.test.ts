import { describe, expect, it } from 'vitest'
import { AssertionError } from './assert.ts'
import { EAGAIN, EBUSY, EFAULT, EHWPOISON, EMFILE, errnoName, hasErrnoName, MmError, throwOnError } from './errno.ts'

describe('errnoName()', () => {
  it('names a number as it is in errno.h and as functions return it', () => {
    expect(errnoName(EFAULT)).toBe('EFAULT')
    expect(errnoName(-EHWPOISON)).toBe('EHWPOISON')
  })

  it('asserts that the number is known', () => {
    expect(() => errnoName(4095)).toThrow(AssertionError)
  })

  it('hasErrnoName() tells beforehand', () => {
    expect([EMFILE, -EMFILE, 4095, 0].map(hasErrnoName)).toEqual([true, true, false, false])
  })
})

describe('MmError', () => {
  it('has the shape of a system error', () => {
    const error = new MmError(-EFAULT, 'hmmRangeFault', { addr: 0x7f1234567000, detail: 'no VMA covers it' })

    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({
      name: 'MmError',
      code: 'EFAULT',
      errno: -14,
      syscall: 'hmmRangeFault',
      addr: 0x7f1234567000,
      message: 'EFAULT: bad address, hmmRangeFault 0x7f1234567000: no VMA covers it',
    })
  })

  it('leaves out the address and the detail when there are none', () => {
    const error = new MmError(-EAGAIN, 'migrateVmaSetup')

    expect(error.message).toBe('EAGAIN: try again, migrateVmaSetup')
    expect(error.addr).toBeUndefined()
  })

  it('prints address 0, which is one', () => {
    expect(new MmError(-EFAULT, 'munmap', { addr: 0 }).message).toBe('EFAULT: bad address, munmap 0x0')
  })

  it('asserts that the number is negative', () => {
    expect(() => new MmError(EFAULT, 'munmap')).toThrow(AssertionError)
  })
})

describe('throwOnError()', () => {
  it('hands through what is not negative', () => {
    expect(throwOnError(0, 'mmap')).toBe(0)
    expect(throwOnError(4096, 'mmap')).toBe(4096)
  })

  it('throws an MmError for a negative result', () => {
    expect(() => throwOnError(-EBUSY, 'mmap', { addr: 4096 })).toThrow(new MmError(-EBUSY, 'mmap', { addr: 4096 }))
  })
})
