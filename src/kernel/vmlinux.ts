import { readFileSync } from "node:fs";
import { TsbpfError } from "../base/error.ts";
import { suggest } from "../base/suggest.ts";
import { type Btf, decodeBtf } from "../btf/decode.ts";
import type { BtfKind } from "../btf/kind.ts";
import type { BtfTypeId } from "../btf/type.ts";
import { UnsupportedError } from "./unsupported.ts";

/** Where the kernel shows its own BTF (CONFIG_DEBUG_INFO_BTF, kernel 5.4). */
const VMLINUX = "/sys/kernel/btf/vmlinux";

// The one value that is kept for the whole process: it cannot change while the kernel runs, and takes megabytes.
let vmlinux: Btf | undefined;

/**
 * The types of the running kernel, without its modules. Read when first asked for, and once: a tenth of a second, and a
 * few times the file's 5 to 10 megabytes.
 *
 * @throws UnsupportedError where the kernel was built without BTF.
 * @example
 * ```ts
 * const { type } = funcProto(vmlinuxBtf(), "bpf_rcu_read_lock");
 * ```
 */
export function vmlinuxBtf(): Btf {
  vmlinux ??= decodeBtf(readVmlinux());
  return vmlinux;
}

/**
 * The BTF id of a kernel variable, for `lddw` with `BPF_PSEUDO_BTF_ID`. Kernels describe their per-CPU variables (5.10); of
 * a function it is the id as well, to take its address.
 *
 * @throws TsbpfError where the kernel's BTF describes no such variable; with a name that is like it.
 */
export function ksymId(name: string): BtfTypeId {
  const btf = vmlinuxBtf();
  const id = btf.ids(name, "var")[0] ?? btf.ids(name, "func")[0];
  if (id !== undefined) return id;
  const hint = [suggest(name, namesOf(btf, "var")) ?? [], "It describes per-CPU variables only."].flat();
  throw new TsbpfError(`the running kernel's BTF describes no variable '${name}'`, { hint: hint.join(" ") });
}

function readVmlinux(): Uint8Array {
  try {
    return readFileSync(VMLINUX);
  } catch (cause) {
    throw new UnsupportedError(`the running kernel does not show its types: ${VMLINUX} cannot be read`, {
      feature: "BTF of the kernel",
      since: "5.4",
      needs: "CONFIG_DEBUG_INFO_BTF=y",
      hint: "Kernel functions and variables are found through it.",
      cause,
    });
  }
}

function namesOf(btf: Btf, kind: BtfKind): string[] {
  const names: string[] = [];
  for (let id = btf.firstId; id < btf.typeCount; id++) if (btf.kind(id) === kind) names.push(btf.name(id));
  return names;
}
