import type { CommandData, CommandType } from "./protocol.js";
import type { Back, Replica } from "./replica.js";

/** Command with the data of its type. */
export type AnyCommand = { [K in CommandType]: { command_type: K; data: CommandData[K] } }[CommandType];

/**
 * Applies the probable effect of a command to the replica. A command that the hub would refuse, or whose effect is there
 * already, changes nothing: the hub decides, and this function only predicts.
 */
export function foresee(replica: Replica, { command_type, data }: AnyCommand): Back | undefined {
  const move = (id: string, parent_id: string | null, index?: number): Back | undefined =>
    replica.isAbove(id, parent_id) ? undefined : replica.move(id, parent_id, index);
  switch (command_type) {
    case "CreateNode": {
      const { node_id: id, name = "New Node", blueprint_type_id, parent_id = null, properties = {}, index } = data;
      if (!id || replica.nodes.has(id)) return;
      return replica.insert({ id, name, blueprint_type_id, parent_id, properties, children: [] }, parent_id, index);
    }
    case "DeleteNode":
      return replica.remove(data.node_id);
    case "LinkNode":
      return replica.nodes.get(data.child_id)?.parent_id === null ? move(data.child_id, data.parent_id, data.index) : undefined;
    case "UnlinkNode":
      return replica.nodes.get(data.child_id)?.parent_id === data.parent_id ? move(data.child_id, null) : undefined;
    case "MoveNode":
      return move(data.node_id, data.new_parent_id, data.index);
    case "ReorderNode":
      return replica.move(data.node_id, replica.nodes.get(data.node_id)?.parent_id ?? null, data.new_index);
    case "UpdateProperty":
      return replica.set(data.node_id, data.property_id, data.property_id, data.new_value);
    case "DeleteProperty":
      return replica.unset(data.node_id, data.property_id);
    case "Batch": {
      const backs: (Back | undefined)[] = [];
      const back = (): void => backs.reverse().forEach(each => each?.());
      try {
        for (const command of data.commands as AnyCommand[]) backs.push(foresee(replica, command));
      } catch (error) {
        // A batch is shown whole or not at all, so the commands before the malformed command are taken back.
        back();
        throw error;
      }
      return back;
    }
  }
}
