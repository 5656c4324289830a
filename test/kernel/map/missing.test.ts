import { describe, expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import { array, u8, u32 } from "../../../src/btf/layout/index.ts";
import { createAttempts } from "../../../src/kernel/features/attempt.ts";
import { probeMapType } from "../../../src/kernel/features/map-types.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { UnsupportedError } from "../../../src/kernel/unsupported.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";

const sys = tracedSyscalls();

describeKernel("types that a kernel may lack", () => {
  const insnArray = mapDef({
    name: "targets",
    type: "insn_array",
    key: u32,
    value: array(u8, 16),
    maxEntries: 1,
  });
  const rhash = mapDef({ name: "flows", type: "rhash", key: u32, value: u32, maxEntries: 1, flags: 1 });

  describe.each([
    ["insn_array", "6.19", (): BpfMap => BpfMap.create(insnArray, { sys })],
    ["rhash", "7.2", (): BpfMap => BpfMap.create(rhash, { sys })],
  ] as const)("%s", (type, since, create) => {
    test("it is made, or the error says which kernel has it", () => {
      if (probeMapType(createAttempts(sys), type).answer === "yes") {
        using map = create();
        expect(map.info().maxEntries).toBe(1);
        return;
      }
      expect(create).toThrow(UnsupportedError);
      expect(create).toThrow(
        new RegExp(
          `^cannot create map '\\w+': this kernel has no maps of type ${type}\n.*EINVAL.*\n {2}It came with kernel ${since}`,
        ),
      );
    });
  });

  test("a definition that does not fit a type that is there stays the kernel's EINVAL", () => {
    const odd = mapDef({ name: "odd", type: "array", key: array(u8, 8), value: u32, maxEntries: 1 });
    expect(() => BpfMap.create(odd, { sys })).toThrow(/^bpf\(BPF_MAP_CREATE\) failed: EINVAL/);
  });

  test("struct_ops maps are made by attachStructOps", () => {
    const def = mapDef({ name: "tcp", type: "struct_ops", key: u32, value: u32, maxEntries: 1 });
    expect(() => BpfMap.create(def, { sys })).toThrow(
      "map 'tcp' of type struct_ops is not made by itself\n" +
        "  attachStructOps(struct, operations) makes it, from the kernel's own struct, and puts it to use.",
    );
  });
});
