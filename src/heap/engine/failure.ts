// Refusals of the engine. They travel as plain data, and become errors of the heap on the program's side.

import { MmError } from '../../base/errno.ts'
import { DeviceLostError } from '../../devices/driver/device-lost-error.ts'
import { HeapError, type HeapErrorCode, OwnershipError } from '../heap-error.ts'
import type { Failure } from './protocol.ts'

/** Thrown inside of the engine, to end a call. */
export class Refusal extends Error {
  readonly failure: Failure

  constructor(code: HeapErrorCode, message: string, details: Pick<Failure, 'misuses' | 'compile'> = {}) {
    super(message)
    this.failure = { code, message, ...details }
  }
}

/** What an error of a device means for a launch: a Refusal, or the error itself if it means nothing in particular. */
export function launchRefusalOf(error: unknown): unknown {
  if (error instanceof DeviceLostError) return new Refusal('LOST', error.message)
  if (error instanceof MmError && error.code === 'ENOMEM') return new Refusal('TOO_LARGE', error.message)
  if (error instanceof RangeError) return new Refusal('BAD_VALUE', error.message)
  return error
}

/** What a call that ended with `error` answers. */
export function failureOf(error: unknown): Failure {
  if (error instanceof Refusal) return error.failure
  return { code: 'FAILED', message: error instanceof Error ? error.message : String(error) }
}

/** The error that the program gets. */
export function errorOf({ code, message, misuses }: Failure): HeapError {
  return misuses === undefined ? new HeapError(code, message) : new OwnershipError(misuses)
}
