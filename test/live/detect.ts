// What detectLive() says, printed. `--refuse`: after the system call has been forbidden to this process, as the default seccomp
// profile of container runtimes does.

import koffi from 'koffi'
import { detectLive } from '../../src/mmu/userfaultfd/features.ts'
import { SYS_USERFAULTFD_ARM64, SYS_USERFAULTFD_X86_64 } from '../../src/uapi/userfaultfd.ts'

if (process.argv.includes('--refuse')) forbidUserfaultfd()
console.log(JSON.stringify(await detectLive()))

/** A seccomp filter: userfaultfd gives EPERM, everything else is allowed. */
function forbidUserfaultfd(): void {
  const PR_SET_SECCOMP = 22
  const PR_SET_NO_NEW_PRIVS = 38
  const SECCOMP_MODE_FILTER = 2
  const number = process.arch === 'x64' ? SYS_USERFAULTFD_X86_64 : SYS_USERFAULTFD_ARM64
  const program: [code: number, jt: number, jf: number, k: number][] = [
    [0x20, 0, 0, 0], // load the number of the call
    [0x15, 0, 1, number], // is it this one?
    [0x06, 0, 0, 0x0005_0001], // SECCOMP_RET_ERRNO, EPERM
    [0x06, 0, 0, 0x7fff_0000], // SECCOMP_RET_ALLOW
  ]
  const filter = new DataView(new ArrayBuffer(8 * program.length))
  for (const [i, [code, jt, jf, k]] of program.entries()) {
    filter.setUint16(8 * i, code, true)
    filter.setUint8(8 * i + 2, jt)
    filter.setUint8(8 * i + 3, jf)
    filter.setUint32(8 * i + 4, k, true)
  }
  const prog = new DataView(new ArrayBuffer(16)) // struct sock_fprog
  prog.setUint16(0, program.length, true)
  prog.setBigUint64(8, koffi.address(new Uint8Array(filter.buffer)), true)
  const prctl = koffi.load(null).func('prctl', 'int', ['int', 'uint64_t', 'uint64_t', 'uint64_t', 'uint64_t'])
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) !== 0) throw new Error('PR_SET_NO_NEW_PRIVS is refused')
  const result = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, koffi.address(new Uint8Array(prog.buffer)), 0, 0)
  if (result !== 0) throw new Error(`PR_SET_SECCOMP is refused, error ${koffi.errno()}`)
}
