// What the compiler of a device refused, as it says it: about the code of a program. Kernel.errorOf makes of it an error about
// the code that the user wrote.

const NOWHERE = { lineNum: 0, linePos: 0 }

/** A device does not take the code of a program. */
export class CompileError extends Error {
  override readonly name = 'CompileError'
  /** Name of the program. */
  readonly program: string
  /** The code of the program. */
  readonly wgsl: string
  /** Of that code, from 1; 0 if it is about no place. */
  readonly line: number
  readonly column: number

  constructor(program: string, wgsl: string, message: string, { lineNum: line, linePos: column } = NOWHERE) {
    super(message)
    this.program = program
    this.wgsl = wgsl
    this.line = line
    this.column = column
  }
}
