import type { AttachTypeName, ProgTypeName } from "../../asm/program.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import type { HelperName } from "../../uapi/helpers.ts";
import { UnsupportedError } from "../unsupported.ts";
import { ABILITIES, type Ability, probeAbility } from "./abilities.ts";
import type { Answer, Verdict } from "./answer.ts";
import { ATTACH_TYPES, probeAttachType } from "./attach-types.ts";
import { createAttempts } from "./attempt.ts";
import { BTF_FEATURES, type BtfFeature, probeBtf } from "./btf-features.ts";
import { findVariants, helperByName, helperSince, probeHelper, type Variants } from "./helpers.ts";
import { ISA_FEATURES, type IsaFeature, probeIsa } from "./isa.ts";
import { LINK_TYPES, type LinkTypeName, probeLinkType } from "./link-types.ts";
import { MAP_TYPES, type ProbedMapType, probeMapType } from "./map-types.ts";
import { PROG_TYPES, probeProgType } from "./prog-types.ts";

/**
 * Asks the running kernel what it has, by trying it: small maps, two-instruction programs, attachments to targets that do
 * not exist. What a probe makes, it takes back at once, and it touches no interface.
 *
 * The answer is `yes`, `no` or `unknown` (see {@link Answer}); it never throws because of what the kernel says. `yes` and
 * `no` are remembered, `unknown` is asked anew, since permissions and circumstances change.
 *
 * Use it to explain, and to choose between ways: for everything else, do it, and see whether it works.
 */
export interface Prober {
  /** Creates a map of the type. */
  haveMapType(type: ProbedMapType): Answer;
  /** Loads a program of the type. */
  haveProgType(type: ProgTypeName): Answer;
  /**
   * Loads a program that calls the helper. It is `no` too where the helper is known, and such programs may not call it.
   *
   * @throws TsbpfError for a name that no helper has.
   */
  haveHelper(type: ProgTypeName, helper: HelperName): Answer;
  /** Attaches such a program to a target that does not exist, or loads it, where that is telling. */
  haveAttachType(type: AttachTypeName): Answer;
  /** Asks for a link of the type to a target that does not exist. */
  haveLinkType(type: LinkTypeName): Answer;
  /** Loads a program with the instruction, or of the shape. */
  haveIsa(feature: IsaFeature): Answer;
  /** Loads BTF that holds it. */
  haveBtf(feature: BtfFeature): Answer;
  /** Tries what the big things build on: TCX, kfuncs, live frames, batch operations, ... */
  have(ability: Ability): Answer;
}

/**
 * A prober of the running kernel, with a memory of its own.
 *
 * @example
 * ```ts
 * const prober = createProber();
 * if (prober.have("tcx").answer === "no") console.log("clsact it is");
 * prober.haveHelper("xdp", "bpf_xdp_load_bytes"); // { answer: "yes", since: "5.18" }
 * ```
 */
export function createProber(sys: Syscalls = linuxSyscalls()): Prober {
  const attempts = createAttempts(sys);
  const known = new Map<string, Answer>();
  const variants = new Map<ProgTypeName, Variants>();

  function remembered(key: string, since: string, probe: () => Verdict): Answer {
    const before = known.get(key);
    if (before !== undefined) return before;
    const answer: Answer = { ...probe(), since };
    if (answer.answer !== "unknown") known.set(key, answer);
    return answer;
  }

  /** Finding out how to load a type takes longer than to ask about one helper; what was refused is tried again. */
  function variantsOf(type: ProgTypeName): Variants {
    const before = variants.get(type);
    if (before !== undefined) return before;
    const found = findVariants(attempts, type);
    if (found.loadable.length > 0) variants.set(type, found);
    return found;
  }

  return {
    haveMapType: (type) =>
      remembered(`map ${type}`, MAP_TYPES[type].since, () => probeMapType(attempts, type)),
    haveProgType: (type) =>
      remembered(`prog ${type}`, PROG_TYPES[type].since, () => probeProgType(attempts, type)),
    haveHelper(type, name) {
      const helper = helperByName(name);
      return remembered(`helper ${type} ${name}`, helperSince(helper.id), () =>
        probeHelper(attempts, variantsOf(type), helper),
      );
    },
    haveAttachType: (type) =>
      remembered(`attach ${type}`, ATTACH_TYPES[type].since, () => probeAttachType(attempts, type)),
    haveLinkType: (type) =>
      remembered(`link ${type}`, LINK_TYPES[type].since, () => probeLinkType(attempts, type)),
    haveIsa: (feature) =>
      remembered(`isa ${feature}`, ISA_FEATURES[feature].since, () => probeIsa(attempts, feature)),
    haveBtf: (feature) =>
      remembered(`btf ${feature}`, BTF_FEATURES[feature].since, () => probeBtf(attempts, feature)),
    have: (ability) =>
      remembered(`ability ${ability}`, ABILITIES[ability].since, () => probeAbility(attempts, ability)),
  };
}

/**
 * Goes on where the kernel has the feature, or where that is not known: trying it will tell.
 *
 * @param feature - what it is, as a noun: `netkit links`.
 * @throws UnsupportedError where the answer is `no`.
 * @example
 * ```ts
 * requireFeature("netkit", createProber().have("netkit"));
 * ```
 */
export function requireFeature(feature: string, { answer, reason, since }: Answer): void {
  if (answer !== "no") return;
  const said = reason === undefined ? "" : `: ${reason}`;
  throw new UnsupportedError(`this kernel has no ${feature}${said}`, { feature, since });
}
