// What a user did wrong, or what is wrong with what was given to a command: printed as one sentence, without a stack.

/** All went well. */
export const EXIT_OK = 0
/** What was to be done failed. */
export const EXIT_FAILED = 1
/** The call is wrong, or what it names cannot be read. */
export const EXIT_USAGE = 2

export class UserError extends Error {
  override readonly name = 'UserError'
  readonly exitCode: number

  constructor(message: string, exitCode: number, options?: ErrorOptions) {
    super(message, options)
    this.exitCode = exitCode
  }
}

/** The reason in an error of the file system, without the name of the call: 'no such file or directory'. */
export function fileProblem(error: unknown): string {
  const { message } = error as Error
  return /^[A-Z]+: ([^,]+)/.exec(message)?.[1] ?? message
}
