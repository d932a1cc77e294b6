// Refusals of the engine. They travel as plain data, and become errors of the heap on the program's side.

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

/** What a call that ended with `error` answers. */
export function failureOf(error: unknown): Failure {
  if (error instanceof Refusal) return error.failure
  return { code: 'FAILED', message: error instanceof Error ? error.message : String(error) }
}

/** The error that the program gets. */
export function errorOf({ code, message, misuses }: Failure): HeapError {
  return misuses === undefined ? new HeapError(code, message) : new OwnershipError(misuses)
}
