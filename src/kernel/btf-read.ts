import { LITTLE_ENDIAN } from "../base/host.ts";
import { type Btf, decodeBtf } from "../btf/decode.ts";
import { btfGetFdById, objGetInfoByFd } from "../syscall/bpf-object.ts";
import { Fd } from "../syscall/fd.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import { bpf_btf_info } from "../uapi/structs.ts";

/** Reads a BTF object of the kernel by its id; `undefined` where there is none (any more). Needs CAP_SYS_ADMIN. */
export function readBtfById(sys: Syscalls, id: number): Btf | undefined {
  const number = btfGetFdById(sys, id);
  if (number === undefined) return undefined;
  using fd = Fd.own(sys, number, `BTF ${id}`);
  const first = new DataView(new ArrayBuffer(bpf_btf_info.size));
  objGetInfoByFd(sys, fd.number, new Uint8Array(first.buffer));
  // The first call gave the size; now the kernel copies as many bytes to the address.
  const blob = new Uint8Array(first.getUint32(bpf_btf_info.btf_size, LITTLE_ENDIAN));
  const second = new DataView(new ArrayBuffer(bpf_btf_info.size));
  second.setBigUint64(bpf_btf_info.btf, sys.addressOf(blob), LITTLE_ENDIAN);
  second.setUint32(bpf_btf_info.btf_size, blob.length, LITTLE_ENDIAN);
  objGetInfoByFd(sys, fd.number, new Uint8Array(second.buffer), [blob]);
  return decodeBtf(blob);
}
