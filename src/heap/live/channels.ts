// Channels between threads of Node.

import { BroadcastChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads'
import type { Channel } from '../engine/remote-port.ts'

/** Members of a group, all threads that have opened the name: each hears what the others send. */
export function groupChannel(name: string): Channel {
  // Ports in all but its type.
  const group = new BroadcastChannel(name) as unknown as Group
  let isOpen = true
  return {
    // An answer may come after the thread that has asked is gone.
    send(message) {
      if (isOpen) group.postMessage(message)
    },
    listen(take) {
      group.onmessage = ({ data }) => take(data)
      group.unref()
    },
    // What has come may have closed it, and to ask a closed one is an error. Deno looks into ports of a pair only; what this is for,
    // the last answers of an engine, is for live heaps.
    receive: () => (isOpen && !('Deno' in globalThis) ? receiveMessageOnPort(group) : undefined),
    keepAlive: (wanted) => (wanted ? group.ref() : group.unref()),
    close() {
      isOpen = false
      group.close()
    },
  }
}

interface Group extends MessagePort {
  onmessage: (event: { readonly data: unknown }) => void
}

/** A pair's end: from `new MessageChannel()`. */
export function portChannel(port: MessagePort): Channel {
  return {
    send: (message) => port.postMessage(message),
    listen(take) {
      port.on('message', take)
      port.unref()
    },
    receive: () => receiveMessageOnPort(port),
    onClose: (then) => void port.on('close', then),
    keepAlive: (wanted) => (wanted ? port.ref() : port.unref()),
    close: () => port.close(),
  }
}
