// What workers and message ports of web pages and of Node have in common, and a port as the channel of an engine.

import type { Channel } from '../engine/remote-port.ts'

/** A worker of a web page, or of Node (`node:worker_threads`). */
export interface EngineWorker {
  /** Sends a message to the worker. */
  postMessage(message: unknown, transfer: never[]): void
  /** Ends the worker, whatever it does. */
  terminate(): unknown
  /** Web. */
  addEventListener?(type: 'error', listener: (event: { readonly message?: string }) => void): void
  /** Node. */
  on?(event: 'error' | 'exit', listener: (what: unknown) => void): unknown
  /** Node: the worker does not keep the process. */
  unref?(): void
}

/** What there is of a MessagePort everywhere; `ref` and `unref` are Node's. */
export interface PortLike {
  onmessage: ((event: { readonly data: unknown }) => void) | null
  postMessage(message: unknown): void
  close(): void
  ref?(): void
  unref?(): void
}

/** Members of a group, all threads that have opened the name: each hears what the others send. */
export function groupChannel(name: string): Channel {
  return portChannel(new BroadcastChannel(name) as unknown as PortLike)
}

export function portChannel(port: PortLike): Channel {
  return {
    send: (message) => port.postMessage(message),
    listen(take) {
      port.onmessage = ({ data }) => take(data)
    },
    receive: () => undefined, // nobody can look here without waiting
    keepAlive(wanted) {
      if (wanted) port.ref?.()
      else port.unref?.()
    },
    close: () => port.close(),
  }
}
