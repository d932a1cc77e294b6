// Running other programs: attached to the terminal, or captured to be shown only when something is wrong.
// A child gets the signals that this process gets, so that Ctrl-C and a CI time limit leave nothing behind.

import { spawn } from 'node:child_process'
import { constants } from 'node:os'

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP']

/**
 * Runs a program that shares our terminal.
 *
 * @param {string} file
 * @param {string[]} args
 * @param {import('node:child_process').SpawnOptions} [options]
 * @returns {Promise<number>} its exit status; 128 + n when signal n ended it, as a shell says it
 */
export async function runAttached(file, args, options = {}) {
  return await ended(spawn(file, args, { stdio: 'inherit', ...options }))
}

/**
 * Runs a program with no input and keeps what it prints.
 *
 * @param {string} file
 * @param {string[]} args
 * @param {import('node:child_process').SpawnOptions} [options]
 * @returns {Promise<{ status: number, output: string }>} status as in runAttached, output and errors in one text
 */
export async function runCaptured(file, args, options = {}) {
  const env = { ...(options.env ?? process.env) }
  if (process.stdout.isTTY && env.NO_COLOR === undefined) env.FORCE_COLOR ??= '1'
  const child = spawn(file, args, { ...options, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const chunks = []
  child.stdout.on('data', (chunk) => chunks.push(chunk))
  child.stderr.on('data', (chunk) => chunks.push(chunk))
  const status = await ended(child)
  return { status, output: Buffer.concat(chunks).toString() }
}

/** '4.1 s', '2 min 5 s' */
export function duration(sinceMs) {
  const seconds = (performance.now() - sinceMs) / 1000
  return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
}

function ended(child) {
  return new Promise((resolve, reject) => {
    const forward = (signal) => child.kill(signal)
    for (const signal of FORWARDED) process.on(signal, forward)
    const release = () => {
      for (const signal of FORWARDED) process.off(signal, forward)
    }
    child.once('error', (error) => {
      release()
      reject(error)
    })
    child.once('close', (status, signal) => {
      release()
      resolve(signal === null ? status : 128 + constants.signals[signal])
    })
  })
}
