// The files that the main job leaves: a report to look at, and a trace for https://ui.perfetto.dev. Whether they can be written is known
// before anything is computed, and each of them is there as a whole or not at all, also when somebody ends the program in the middle.

import { rmSync } from 'node:fs'
import { rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type ReportBuilder, renderReport } from '../report/index.ts'

export const REPORT_NAME = 'hetmem-report.html'
export const TRACE_NAME = 'hetmem-trace.json'

/** Rejects with an Error that names the folder if no files can be written to it. */
export async function checkFolder(folder: string): Promise<void> {
  const reason = await whyNotWritable(folder)
  if (reason !== null) throw new Error(`files cannot be written to ${folder}: ${reason}`)
}

async function whyNotWritable(folder: string): Promise<string | null> {
  const found = await stat(folder).catch(() => null)
  if (found === null) return 'there is no such folder'
  if (!found.isDirectory()) return 'it is no folder'
  // Permissions do not say everything: file systems may be read-only, and root may not be asked.
  const probe = join(folder, `${REPORT_NAME}.${process.pid}`)
  try {
    await writeFile(probe, '')
    await rm(probe)
    return null
  } catch (error) {
    const reasons: Readonly<Record<string, string>> = {
      EACCES: 'it may not be written',
      EPERM: 'it may not be written',
      EROFS: 'it is read-only',
      ENOENT: 'it takes no files',
    }
    const { code, message } = error as NodeJS.ErrnoException
    return reasons[code ?? ''] ?? message
  }
}

/** Writes the report of what a builder has seen, and returns its path. */
export async function writeReport(folder: string, builder: ReportBuilder): Promise<string> {
  const path = join(folder, REPORT_NAME)
  try {
    await whole(path, (unfinished) => writeFile(unfinished, renderReport(builder.build())))
  } catch (error) {
    throw new Error(`${path} cannot be written: ${(error as Error).message}`, { cause: error })
  }
  return path
}

/** Has `use` write the trace to the path that it gets. Rejects as `use` does, and then there is no trace. */
export async function withTrace<Result>(folder: string, use: (path: string) => Promise<Result>): Promise<Result> {
  return await whole(join(folder, TRACE_NAME), use)
}

/** Has `write` make a file beside the path, which becomes that file when all is well, and is removed otherwise. */
async function whole<Result>(path: string, write: (unfinished: string) => Promise<Result>): Promise<Result> {
  const unfinished = `${path}.${process.pid}`
  const remove = () => rmSync(unfinished, { force: true })
  process.once('exit', remove)
  try {
    const result = await write(unfinished)
    await rename(unfinished, path)
    return result
  } finally {
    remove()
    process.off('exit', remove)
  }
}
