// An explicit MMU that lets stores to protected pages through and tells of them when it is asked, as the kernel does for a live heap
// that tracks writes without faults (UFFD_FEATURE_WP_ASYNC): nobody hears of such a store before the next `collectWrites`.

import { type Addr, addrToVpn } from '../../src/base/addr.ts'
import { ExplicitMmu } from '../../src/mmu/explicit/explicit-mmu.ts'
import type { MmuCapabilities, SpaceId } from '../../src/mmu/mmu.ts'

/** Otherwise the MMU of an explicit heap, where nothing traps; here what has no translation does. */
export class PassingMmu extends ExplicitMmu {
  override readonly capabilities: MmuCapabilities = {
    anyFrame: false,
    walksPageTable: false,
    traps: true,
    letsStoresThrough: true,
    hugePages: false,
  }
  /** Pages that were written although they are protected, since they were asked for. */
  private readonly passed = new Set<number>()

  /** A store to a page that the CPU has for reading. */
  passStore(addr: Addr): void {
    this.passed.add(addrToVpn(addr))
  }

  override unmap(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void {
    super.unmap(space, addr, npages, dirty)
    this.tell(addr, npages, dirty)
  }

  override protect(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void {
    super.protect(space, addr, npages, dirty)
    this.tell(addr, npages, dirty)
  }

  override collectDirty(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void {
    super.collectDirty(space, addr, npages, dirty)
    this.tell(addr, npages, dirty)
  }

  private tell(addr: Addr, npages: number, dirty: Uint8Array): void {
    const first = addrToVpn(addr)
    for (const vpn of this.passed) {
      if (vpn < first || vpn >= first + npages) continue
      dirty[vpn - first] = 1
      this.passed.delete(vpn)
    }
  }
}
