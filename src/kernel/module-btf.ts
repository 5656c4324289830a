import { readdirSync, readFileSync } from "node:fs";
import { TsbpfError } from "../base/error.ts";
import { LITTLE_ENDIAN } from "../base/host.ts";
import { suggest } from "../base/suggest.ts";
import { type Btf, decodeBtf } from "../btf/decode.ts";
import type { BtfKind } from "../btf/kind.ts";
import type { BtfTypeId } from "../btf/type.ts";
import { btfGetFdById, btfGetNextId, objGetInfoByFd } from "../syscall/bpf-object.ts";
import { Fd } from "../syscall/fd.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import { bpf_btf_info } from "../uapi/structs.ts";
import { explainPermission } from "./privileges.ts";
import { vmlinuxBtf } from "./vmlinux.ts";

/** Where the kernel shows its own types and those of its modules, by name. */
const DIRECTORY = "/sys/kernel/btf";

/**
 * The types of a kernel module that is loaded (kernel 5.11), which go on from the kernel's own: look-ups find both.
 *
 * @throws TsbpfError where no module of that name is loaded, or it came without BTF; UnsupportedError where the kernel was
 * built without it.
 */
export function moduleBtf(name: string): Btf {
  return readModuleBtf(DIRECTORY, name, vmlinuxBtf());
}

/** {@link moduleBtf} of a directory. */
export function readModuleBtf(directory: string, name: string, base: Btf): Btf {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(`${directory}/${name}`);
  } catch (cause) {
    throw new TsbpfError(`the types of kernel module '${name}' are not there`, {
      hint:
        suggest(name, moduleNames(directory)) ?? "It is not loaded, is built in, or was built without BTF.",
      cause,
    });
  }
  return decodeBtf(bytes, { base });
}

/** The modules that show their types. */
export function moduleNames(directory: string = DIRECTORY): readonly string[] {
  return readdirSync(directory).filter((name) => name !== "vmlinux");
}

/** Something that the kernel or one of its modules has in its BTF. */
export interface KernelSymbol {
  readonly id: BtfTypeId;
  /** The module whose types the id is one of; `undefined` for the kernel's own. */
  readonly module: string | undefined;
}

/** Where to look: the running kernel, or the files of another one. */
export interface KernelPlace {
  readonly directory: string;
  readonly vmlinux: Btf;
}

/** Finds a type by name: in the kernel, then in its modules that are loaded; `undefined` where none has it. */
export function findKernelSymbol(
  name: string,
  kind: BtfKind,
  { directory, vmlinux }: KernelPlace = { directory: DIRECTORY, vmlinux: vmlinuxBtf() },
): KernelSymbol | undefined {
  const [own] = vmlinux.ids(name, kind);
  if (own !== undefined) return { id: own, module: undefined };
  for (const module of moduleNames(directory)) {
    const [id] = readModuleBtf(directory, module, vmlinux).ids(name, kind);
    if (id !== undefined) return { id, module };
  }
  return undefined;
}

/**
 * Opens the kernel's BTF object of a module, by which instructions and attachments name the module.
 *
 * @throws TsbpfError where the kernel holds none: the module has gone; SyscallError: EPERM without CAP_SYS_ADMIN.
 */
export function openModuleBtf(sys: Syscalls, module: string): Fd {
  const fd = explainPermission(["CAP_SYS_ADMIN"], () => findModuleBtf(sys, module));
  if (fd !== undefined) return fd;
  throw new TsbpfError(`the kernel holds no types of a module '${module}' (any more)`, {
    hint: "It was unloaded meanwhile: load it again (modprobe).",
  });
}

function findModuleBtf(sys: Syscalls, module: string): Fd | undefined {
  for (let id = btfGetNextId(sys, 0); id !== undefined; id = btfGetNextId(sys, id)) {
    const number = btfGetFdById(sys, id);
    if (number === undefined) continue; // gone meanwhile
    const fd = Fd.own(sys, number, `BTF of module ${module}`);
    try {
      if (isModule(sys, fd, module)) return fd;
    } catch (error) {
      fd.close();
      throw error;
    }
    fd.close();
  }
  return undefined;
}

function isModule(sys: Syscalls, fd: Fd, module: string): boolean {
  const name = new Uint8Array(64); // MODULE_NAME_LEN is 56
  const info = new DataView(new ArrayBuffer(bpf_btf_info.size));
  info.setBigUint64(bpf_btf_info.name, sys.addressOf(name), LITTLE_ENDIAN);
  info.setUint32(bpf_btf_info.name_len, name.length, LITTLE_ENDIAN);
  objGetInfoByFd(sys, fd.number, new Uint8Array(info.buffer), [name]);
  // Programs may give their BTF no name, and modules may not.
  const isKernels = info.getUint32(bpf_btf_info.kernel_btf, LITTLE_ENDIAN) !== 0;
  return isKernels && new TextDecoder().decode(name.subarray(0, name.indexOf(0))) === module;
}
