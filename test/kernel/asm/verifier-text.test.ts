import { expect, it } from "vitest";
import {
  assemble,
  call,
  encode,
  exit,
  type Insn,
  insn,
  insnText,
  ja,
  jeq,
  jset,
  mayGoto,
  mov,
  program,
  r0,
} from "../../../src/asm/index.ts";
import { progLoad } from "../../../src/syscall/bpf-prog.ts";
import { linuxSyscalls } from "../../../src/syscall/ffi.ts";
import { BPF_PROG_TYPE_SOCKET_FILTER } from "../../../src/uapi/bpf.ts";
import { bpf_get_prandom_u32 } from "../../../src/uapi/helpers.ts";
import { build, instructionVectors } from "../../asm/vectors.ts";
import { describeKernel } from "../../support/privileges.ts";

const sys = linuxSyscalls();

/** Offers a program to the verifier, whatever the verdict, and gives back its log and whether it accepted. */
function verify(insns: Uint8Array, logSize = 1 << 20): { readonly log: string; readonly accepted: boolean } {
  const log = new Uint8Array(logSize);
  const { result } = progLoad(sys, {
    prog_type: BPF_PROG_TYPE_SOCKET_FILTER,
    insns,
    license: "GPL",
    log_level: 2,
    log_buf: log,
  });
  if (result >= 0) sys.close(result);
  return { log: new TextDecoder().decode(log.subarray(0, log.indexOf(0))), accepted: result >= 0 };
}

describeKernel("the words of the verifier's own log", () => {
  // The log shows an instruction before it judges it, but some are refused before that, or shown with an address.
  const shown = instructionVectors
    .filter(
      ({ insn, kernel }) =>
        !/double|kfunc|map|ksym|callback|callx|gotox/i.test(insn) || /call bpf_/.test(kernel),
    )
    .filter(({ insn }) => !insn.includes("kfunc"));

  it.each(shown)("$insn", (vector) => {
    const first = near(build(vector));
    const rest = vector.insn === "exit()" ? [] : [mov(r0, 0), mov(r0, 0), exit()];
    const bytes = encode([first, ...rest]);
    const { log } = verify(bytes);
    const line = /^0: \(([0-9a-f]{2})\) (.*?)(?:\s+;.*)?$/m.exec(log);
    expect(line, log).not.toBeNull();
    expect({ code: line?.[1], text: line?.[2] }).toEqual({
      code: first.code.toString(16).padStart(2, "0"),
      text: insnText(first),
    });
  });

  it("has most of the table", () => {
    expect(shown.length).toBeGreaterThan(300);
  });

  /** The same jump to the next instruction: the others go further than this program. */
  function near({ ref, ...fields }: Insn): Insn {
    if (ref?.kind === "helper") return { ...fields, ref };
    const isGotol = fields.code === 0x06;
    const jumps = ref?.kind === "label";
    return jumps ? { ...fields, off: 0, imm: isGotol ? 0 : fields.imm } : fields;
  }
});

describeKernel("long jumps", () => {
  const padding = Array.from({ length: 33_000 }, () => mov(r0, 0));
  const cases = {
    ja: [ja("far")],
    jeq: [call(bpf_get_prandom_u32), jeq(r0, 1, "far")],
    jset: [call(bpf_get_prandom_u32), jset(r0, 1, "far")],
    mayGoto: [mayGoto("far")],
  };

  it.each(Object.entries(cases))("the verifier takes a relaxed %s", (name, jump) => {
    const start = [mov(r0, 0), ...(jump as readonly Insn<"far", never>[])];
    // Something has to reach the padding behind an unconditional jump.
    const head = name === "ja" ? [call(bpf_get_prandom_u32), jeq(r0, 7, "padding")] : [];
    const { bytes, lines } = assemble(
      program("socket_filter", "far", { head, start, padding: [...padding], far: [mov(r0, 0), exit()] }),
    );
    expect(lines.some(({ insn }) => insn.code === 0x06)).toBe(true);
    const { log, accepted } = verify(bytes, 1 << 24);
    expect(accepted, log.slice(-300)).toBe(true);
  });

  it("refuses the same without gotol", () => {
    const far = insn({ code: 0x05, off: 0x7fff });
    expect(verify(encode([far, mov(r0, 0), exit()])).log).toContain("jump out of range");
  });
});
