import { expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import { kptr, s32, struct, u32, u64 } from "../../../src/btf/layout/index.ts";
import { BpfMap, BpfProgram, kernelLayout } from "../../../src/kernel/index.ts";
import {
  acquired,
  kfuncDef,
  released,
  sockContext,
  TC_ACT_OK,
  type TcScope,
  tc,
} from "../../../src/lang/index.ts";
import { describeKernel } from "../../support/privileges.ts";
import { openConnection, ownFd } from "../map/sockets.ts";

const taskFromPid = kfuncDef("bpf_task_from_pid", [s32], acquired("task_struct", "bpf_task_release"));
const taskRelease = kfuncDef("bpf_task_release", [released("task_struct")]);

describeKernel("objects that maps hold", () => {
  test.each(["sockmap", "sockhash"] as const)("a socket of a %s", async (type) => {
    const sockets = mapDef({ name: "sockets", type, key: u32, value: u64, maxEntries: 4 });
    const program = tc("port_of", ($) => {
      const port = $.let(u32, 0);
      $.ifPresent($.findSocket(sockets, 2), (found) => {
        $.ifPresent($.bpf_sk_fullsock(found), (full) => port.set($.view(full, sockContext).src_port));
        $.bpf_sk_release(found);
      });
      return $.return(port);
    });
    await using connection = await openConnection();
    using map = BpfMap.create(sockets);
    using prog = BpfProgram.load(program, { maps: [map] });
    const data = new Uint8Array(64);
    expect(prog.testRun({ data }).retval).toBe(0);
    map.set(2, ownFd(connection.server));
    expect(prog.testRun({ data }).retval).toBe(connection.server.localPort);
  });

  test("a task that a map owns is put in, looked at, and taken out", () => {
    const Held = struct("held", { runs: u64, task: kptr("task_struct") });
    const held = mapDef({ name: "held", type: "array", key: u32, value: Held, maxEntries: 1 });
    const Task = kernelLayout("task_struct", { tgid: u32 });
    const ok = ($: TcScope) => ({ else: () => $.return(TC_ACT_OK) });

    const keep = tc("keep", ($) => {
      const { pid } = $.packet.take(struct("wanted", { pid: s32 }), ok($));
      const value = $.lookup(held, 0, ok($));
      $.ifPresent($.kfunc(taskFromPid, pid), (task) => {
        $.ifPresent($.exchange(value, "task", "task_struct", task), (before) => $.kfunc(taskRelease, before));
      });
      return $.return(TC_ACT_OK);
    });
    const take = tc("take", ($) => {
      const result = $.let(u32, 0);
      const value = $.lookup(held, 0, ok($));
      value.runs.set(value.runs.add(1));
      $.ifPresent($.exchange(value, "task", "task_struct", null), (task) => {
        result.set($.view(task, Task).tgid);
        $.kfunc(taskRelease, task);
      });
      return $.return(result);
    });
    using map = BpfMap.create(held);
    using keeping = BpfProgram.load(keep, { maps: [map] });
    using taking = BpfProgram.load(take, { maps: [map] });
    const data = new Uint8Array(64);
    new DataView(data.buffer).setInt32(0, process.pid, true);
    expect(taking.testRun({ data }).retval).toBe(0);
    keeping.testRun({ data, repeat: 3 });
    expect(taking.testRun({ data }).retval).toBe(process.pid);
    expect(taking.testRun({ data }).retval).toBe(0);
    expect(map.get(0)).toMatchObject({ runs: 3n });
  });
});
