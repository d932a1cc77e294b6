// The operations that are commands of the test driver: buffers are made for them, and their contents become values.

import { type Addr, PAGE_SIZE } from '../../../src/base/addr.ts'
import { assertNever } from '../../../src/base/assert.ts'
import { errnoName } from '../../../src/base/errno.ts'
import type { DmirrorHandle, DmirrorResult } from '../../../src/devices/dmirror/index.ts'
import type { OperationOf, OperationResult } from '../../trace.ts'
import { readWord, writeWord } from './page-word.ts'

export type DeviceCommand = OperationOf<
  'dev-read' | 'dev-write' | 'migrate-to-dev' | 'migrate-to-sys' | 'snapshot' | 'exclusive' | 'check-exclusive'
>

/** Executes a command on `op.n` pages from `addr` on. */
export function executeDeviceCommand(op: DeviceCommand, handle: DmirrorHandle, addr: Addr): OperationResult {
  const { n } = op
  switch (op.op) {
    case 'dev-read': {
      const buffer = new Uint8Array(n * PAGE_SIZE)
      return answer(handle.read(addr, n, buffer), ({ cpages, faults }) => ({ cpages, faults, values: words(buffer) }))
    }
    case 'dev-write': {
      const buffer = new Uint8Array(n * PAGE_SIZE)
      for (let i = 0; i < n; i++) writeWord(buffer, i, op.value + i)
      return answer(handle.write(addr, n, buffer), ({ cpages, faults }) => ({ cpages, faults }))
    }
    case 'migrate-to-dev': {
      const buffer = new Uint8Array(n * PAGE_SIZE)
      return answer(handle.migrateToDev(addr, n, buffer), ({ cpages }) => ({ cpages, values: words(buffer) }))
    }
    case 'migrate-to-sys':
      return answer(handle.migrateToSys(addr, n), ({ cpages }) => ({ cpages }))
    case 'snapshot': {
      const perms = new Uint8Array(n)
      return answer(handle.snapshot(addr, n, perms), ({ cpages }) => ({ cpages, perm: hexBytes(perms) }))
    }
    case 'exclusive': {
      const buffer = new Uint8Array(n * PAGE_SIZE)
      return answer(handle.exclusive(addr, n, buffer), ({ cpages }) => ({ cpages, values: words(buffer) }))
    }
    case 'check-exclusive':
      return answer(handle.checkExclusive(addr, n), ({ ret }) => ({ ret }))
    default:
      return assertNever(op)
  }
}

/** A command that fails tells nothing but its errno. */
function answer(result: DmirrorResult, onSuccess: (result: DmirrorResult) => OperationResult): OperationResult {
  return result.ret === 0 ? onSuccess(result) : { errno: errnoName(result.ret) }
}

function words(buffer: Uint8Array): number[] {
  return Array.from({ length: buffer.length / PAGE_SIZE }, (_, page) => readWord(buffer, page))
}

function hexBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ')
}
