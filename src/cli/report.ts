// `hetmem report`: makes a page of a trace.

import { spawn } from 'node:child_process'
import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { type ReportModel, renderReport } from '../report/index.ts'
import type { Terminal } from './terminal.ts'
import { readTrace } from './trace-reader.ts'
import { EXIT_FAILED, fileProblem, UserError } from './user-error.ts'

export interface ReportOptions {
  readonly out: string
  readonly open?: boolean
  readonly json?: boolean
}

/** Throws a UserError for a trace that cannot be read, or a page that cannot be written. */
export function report(trace: string, { out: file, open = false, json = false }: ReportOptions, out: Terminal): void {
  const model = readTrace(trace)
  if (json) {
    out.line(JSON.stringify(model))
    return
  }
  writeReport(model, file)
  out.line(`report: ${file}`)
  if (open) openInBrowser(resolve(file))
}

/** Writes the page, all of it or nothing. */
export function writeReport(model: ReportModel, file: string): void {
  const temporary = join(dirname(file), `.${basename(file)}.${process.pid}`)
  try {
    writeFileSync(temporary, renderReport(model))
    renameSync(temporary, file)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw new UserError(`writing the report ${file}: ${fileProblem(error)}`, EXIT_FAILED, { cause: error })
  }
}

/** With what the system opens files with. Where there is nothing, the path has been printed. */
function openInBrowser(file: string): void {
  const [command, ...args] = OPENERS[process.platform] ?? ['xdg-open']
  const child = spawn(command, [...args, file], { stdio: 'ignore', detached: true })
  child.on('error', () => {})
  child.unref()
}

const OPENERS: Readonly<Partial<Record<NodeJS.Platform, readonly [string, ...string[]]>>> = {
  darwin: ['open'],
  win32: ['cmd', '/c', 'start', ''],
}
