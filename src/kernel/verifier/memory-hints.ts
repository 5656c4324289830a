import type { AssembledInsn } from "../../asm/assemble.ts";
import { BPF_ST, BPF_STX } from "../../uapi/bpf.ts";
import type { Hint } from "./hint.ts";
import { packetCheck } from "./packet-check.ts";

/** What went wrong with an access to memory. */
export const MEMORY_HINTS: readonly Hint[] = [
  {
    id: "packet-variable-offset",
    pattern: /invalid access to packet, off=-?\d+ size=(\d+), R(\d+)\(id=[1-9]/,
    explain: ([, size, register], { log }) => {
      const pointer = `r${register}`;
      const limit = upperLimit(log.state.get(pointer));
      if (limit !== undefined && limit <= MAX_PACKET_OFF) return undefined; // then only the comparison is missing
      const known = limit === undefined ? "has no known limit" : `may be as large as ${limit}`;
      return `What was added to ${pointer} ${known}. Limit it before it is added, as in and(r5, 0xff); then compare the sum with data_end, and read through the same register: ${packetCheck(Number(size), { data: pointer })}.`;
    },
  },
  {
    id: "packet-bounds",
    pattern:
      /invalid access to packet, off=(-?\d+) size=(\d+), R(\d+)\(id=\d+,off=-?\d+,r=(\d+)\)|offset is outside of the packet/,
    explain: ([, off, size, register, checked], { line }) => {
      if (register === undefined) {
        return `Compare the pointer plus the bytes that are read with data_end first: ${packetCheck(14)}.`;
      }
      const pointer = `r${register}`;
      // The log counts from where the pointer was loaded; the instruction from where it is now.
      const end = Number(off) + Number(size);
      const moved = Number(off) - (line?.insn.off ?? 0);
      if (checked !== "0") {
        const from =
          moved === 0 ? `behind ${pointer}` : `from where ${pointer} pointed before ${moved} was added to it`;
        return `Only ${checked} bytes ${from} were compared with data_end, and this access reaches ${end}: compare that many.`;
      }
      const bytes = end - moved;
      return `Compare ${pointer} + ${bytes} with data_end first: ${packetCheck(bytes, { data: pointer })}. A pointer that is loaded from the context again must be compared again, and a test of the length (data_end - data) does not count.`;
    },
  },
  {
    id: "map-value-bounds",
    pattern: /invalid access to map value, value_size=(\d+) off=(-?\d+) size=(\d+)/,
    explain: ([reason, valueSize, off, size], { log }) => {
      const room = `a value of ${valueSize} bytes`;
      const limit = `limit what is added to the pointer, as in and(r5, ${mask(Number(valueSize) - Number(size))})`;
      if (log.reason.includes("max value is outside")) {
        return `The access may reach byte ${Number(off) + Number(size)} of ${room}: ${limit}.`;
      }
      if (log.insnText?.startsWith("call ") === true) {
        return `The helper is given ${size} bytes at offset ${off} of ${room}: pass a length that fits.`;
      }
      return `Bytes ${off} to ${Number(off) + Number(size) - 1} are not inside ${room}: correct the offset, or enlarge the value in the map's definition${reason.includes("off=-") ? `, or ${limit}` : ""}.`;
    },
  },
  {
    id: "memory-bounds",
    pattern:
      /invalid access to (?:memory|buffer), mem_size=(\d+) off=(-?\d+) size=(\d+)|access beyond the end of member/,
    explain: ([, memSize, off, size]) =>
      memSize === undefined
        ? "The access reaches beyond the field of the kernel's struct: read it with the width of the field."
        : `The access reaches byte ${Number(off) + Number(size)} of ${memSize}. Correct the offset, or ask for more memory where it was reserved.`,
  },
  {
    id: "variable-offset",
    pattern:
      /R(\d+) unbounded memory access, make sure to bounds check|R(\d+) min value is negative, either use unsigned index|math between (\w+) pointer and register with unbounded min value|value -?\d+ makes \w+ pointer be out of bounds/,
    explain: () =>
      'An offset that varies is added to this pointer, and the verifier knows no limit for it. Limit it before it is added, as in and(r4, 15), or compare it: jgt(r4, 15, "out"). Use the register that was compared: a limit does not reach copies made before, nor a value that is loaded again.',
  },
  {
    id: "read-only-memory",
    pattern:
      /write into map forbidden|read from map forbidden|cannot write into (\w+)|R(\d+) cannot write into (\w+)/,
    explain: ([reason, kind, , other], { assembled }) => {
      if (reason.startsWith("read from map")) {
        return "The map was created with BPF_F_WRONLY_PROG: programs may only write it.";
      }
      if (reason.startsWith("write into map")) {
        return "The map was created with BPF_F_RDONLY_PROG, or is frozen: programs may only read it. Create it without that flag, or store elsewhere.";
      }
      return `A program of type ${assembled.program.type} may not write this memory (${kind ?? other}). Copy the data to the stack, or use a helper that writes it.`;
    },
  },
  {
    id: "stack-variable-offset",
    pattern:
      /unbounded variable-offset|variable[- ](?:offset )?stack (?:read|write|access)|R\d+ variable offset stack access prohibited/,
    explain: () =>
      "The offset into the stack must be known, or at least limited on both sides: mask it, as in and(r2, 7), and add it to a copy of r10 that points low enough. An array map is the better place for an array.",
  },
  {
    id: "stack-uninitialized",
    // Inside the stack a read is refused for what was not written there; before 5.13 the message had no register.
    pattern:
      /invalid (?:indirect )?(?:read|access) (?:from|to) (?:variable-offset )?stack (?:R\d+ )?(?:off -?\d+\+-?\d+ size (\d+)|off=(-?\d+) size=(\d+))/,
    explain: ([, size, off, otherSize]) => {
      const bytes = Number(size ?? otherSize);
      if (off !== undefined && !insideStack(Number(off), bytes)) return undefined;
      return `Some of these ${bytes} bytes of the stack were never written on this path. Write them all first, padding too, as in stdw([r10, -8], 0).`;
    },
  },
  {
    id: "stack-bounds",
    pattern:
      /invalid (?:indirect )?(?:read|write|access|zero-sized read) (?:from|to) stack R\d+ off=(-?\d+)(?: size=(\d+))?|invalid stack (?:type R\d+ )?off=(-?\d+)/,
    explain: ([, off, size, oldOff]) => {
      const at = Number(off ?? oldOff);
      const reach = at >= -512 && at < 0 && size !== undefined ? `, and ${size} bytes reach above r10` : "";
      return `The stack is the 512 bytes below r10, offsets -512 to -1; this access is at ${at}${reach}. Keep larger data in a map: a per-CPU array with one entry is a scratch buffer.`;
    },
  },
  {
    id: "misaligned",
    pattern: /misaligned (\w+ )?access off .*?size (\d+)/,
    explain: ([, kind, size]) =>
      kind === "stack "
        ? `An access of ${size} bytes to the stack must be at a multiple of ${size}, as -8, -16 for 8 bytes.`
        : `An access of ${size} bytes must be at a multiple of ${size} here: read it in smaller parts, as with ldxb, and put them together.`,
  },
  {
    id: "spill-size",
    pattern: /invalid size of register (spill|fill)/,
    explain: ([, what]) =>
      what === "spill"
        ? "A pointer is kept on the stack whole: 8 bytes at a multiple of 8, as in stxdw([r10, -8], r1)."
        : "What was kept on the stack as a pointer is read back whole: 8 bytes, as in ldxdw(r1, [r10, -8]).",
  },
  {
    id: "spill-corrupted",
    pattern: /attempt to corrupt spilled pointer|corrupted spill memory/,
    explain: () =>
      "A pointer is kept in this stack slot, and part of it would be overwritten. Use another slot for the other value.",
  },
  {
    id: "context-access",
    pattern: /invalid bpf_context access off=(-?\d+) size=(\d+)/,
    explain: ([, off, size], { assembled, line }) => {
      const store = isStore(line) ? "writes" : "reads";
      const { type } = assembled.program;
      const how =
        store === "writes"
          ? "Most fields of a context are read-only; change the packet through helpers instead."
          : `Read a field that programs of type ${type} have, at its own offset and width (most are 4 bytes: ldxw).`;
      return `The program ${store} ${size} bytes at offset ${off} of its context, which programs of type ${type} may not. ${how}`;
    },
  },
  {
    id: "context-modified",
    pattern: /dereference of modified ctx ptr R(\d+) off=(-?\d+)|variable ctx access|negative offset ctx ptr/,
    explain: ([, register = "1", off]) =>
      `The pointer to the context must be used as it came: put the offset into the access, as in ldxw(r2, [r${register}, ${off ?? 4}]), instead of adding it to the pointer. The offset must be a constant.`,
  },
  {
    id: "atomic-target",
    pattern: /BPF_(?:ATOMIC|XADD) (?:stores into|loads from) R(\d+) (\w+) is not allowed/,
    explain: ([, , kind]) =>
      `Atomic operations work on map values and on the stack, not on ${kind === "pkt" ? "the packet" : kind === "ctx" ? "the context" : kind}. Load, change and store it in separate instructions.`,
  },
];

/** The verifier follows a packet pointer up to this offset. */
const MAX_PACKET_OFF = 0xffff;

function insideStack(off: number, size: number): boolean {
  return off >= -512 && off + size <= 0;
}

/** The largest value of a register, from the state that the verifier prints, as `umax=255` or `umax_value=0xff`. */
function upperLimit(state: string | undefined): number | undefined {
  const limit = /\bumax(?:_value|32)?=(?:\w+=)*(\w+)/.exec(state ?? "")?.[1];
  return limit === undefined ? undefined : Number(limit);
}

/** The largest mask that keeps an offset at or below `limit`. */
function mask(limit: number): number {
  let bits = 0;
  while (bits * 2 + 1 <= limit) bits = bits * 2 + 1;
  return bits;
}

function isStore(line: AssembledInsn | undefined): boolean {
  const opClass = (line?.insn.code ?? 0) & 0x07;
  return opClass === BPF_ST || opClass === BPF_STX;
}
