// Channels between threads of Node.

import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads'
import type { Channel } from '../engine/remote-port.ts'

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
