import type { AttachTypeName } from "../../asm/program.ts";
import { bpf_attach_type, bpf_link_type } from "../../uapi/bpf.ts";

/** Name of a link type: that of the kernel, in lower case without `BPF_LINK_TYPE_`. */
export type LinkTypeName = keyof typeof bpf_link_type extends `BPF_LINK_TYPE_${infer Name}`
  ? Exclude<Lowercase<Name>, "unspec">
  : never;

/** The number of an attach type. */
export function attachTypeNumber(name: AttachTypeName): number {
  return bpf_attach_type[`BPF_${name.toUpperCase()}` as keyof typeof bpf_attach_type];
}

/** The name of an attach type, in the spelling of programs; the number where it has none here. */
export function attachTypeName(number: number): string {
  const found = Object.entries(bpf_attach_type).find(([, value]) => value === number);
  return found === undefined ? String(number) : found[0].slice("BPF_".length).toLowerCase();
}

/** The name of a link type; `undefined` for one that is newer than this version of tsbpf. */
export function linkTypeName(number: number): LinkTypeName | undefined {
  const found = Object.entries(bpf_link_type).find(([, value]) => value === number);
  if (found === undefined || number === 0) return undefined;
  return found[0].slice("BPF_LINK_TYPE_".length).toLowerCase() as LinkTypeName;
}
