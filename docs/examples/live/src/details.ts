import type { Json, TreeNode } from "@talus-hub/client";

import type { NodeType, Property } from "./api.js";
import { make } from "./dom.js";

type Field = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

/** Form with the name and the properties of the selected node. The focused field is not redrawn while a user types. */
export class Details {
  readonly element = make("form", { class: "details", "aria-label": "Selected node", onsubmit: event => event.preventDefault() });
  readonly #set: (id: string, property_id: string, value: Json) => void;
  #shown: string | undefined;
  readonly #fields = new Map<string, { field: Field; show(value: Json | undefined): void }>();

  constructor(set: (id: string, property_id: string, value: Json) => void) {
    this.#set = set;
  }

  draw(node: TreeNode | undefined, type: NodeType | undefined): void {
    const properties = node ? (type?.properties ?? untyped(node)) : [];
    // Other clients may add a property, so the form is rebuilt if the node or its list of properties is another.
    const shown = node && [node.id, ...properties.map(({ id }) => id)].join();
    if (shown !== this.#shown) {
      this.#shown = shown;
      this.#fields.clear();
      this.element.replaceChildren(node ? make("h2", {}, type?.name ?? node.blueprint_type_id) : make("p", {}, "Select a node."));
      if (node) {
        this.#add(node.id, { id: "name", key: "name", name: "Name", type: "text", options: [] });
        for (const property of properties) if (property.key !== "name") this.#add(node.id, property);
      }
    }
    if (!node) return;
    for (const [id, { field, show }] of this.#fields) {
      if (document.activeElement !== field) show(id === "name" ? node.name : node.properties[id]);
    }
  }

  /** Focuses the field of the name and selects its text. */
  rename(): void {
    const name = this.#fields.get("name")?.field;
    name?.focus();
    if (name instanceof HTMLInputElement) name.select();
  }

  #add(node: string, property: Property): void {
    const { id, name, type } = property;
    const field = fieldFor(property);
    const show = (value: Json | undefined): void => {
      if (field instanceof HTMLInputElement && field.type === "checkbox") field.checked = value === true;
      else field.value = value === undefined || value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
    };
    field.addEventListener("change", () => {
      const checkbox = field instanceof HTMLInputElement && field.type === "checkbox";
      this.#set(node, id, checkbox ? field.checked : valueOf(type, field.value));
    });
    this.#fields.set(id, { field, show });
    this.element.append(make("label", { class: type }, make("span", {}, name), field));
  }
}

/** Converts typed text to a value: numbers to numbers, empty fields of other types than text to null. */
function valueOf(type: string, text: string): Json {
  if (["text", "textarea", "editor"].includes(type)) return text;
  if (text === "") return null;
  return type === "number" || type === "currency" ? Number(text) : text;
}

/** Lists the properties of a node without a template: the properties that are set. */
const untyped = (node: TreeNode): Property[] =>
  Object.keys(node.properties).map(id => ({ id, key: id, name: id, type: "text", options: [] }));

function fieldFor({ type, options }: Property): Field {
  switch (type) {
    case "checkbox":
      return make("input", { type: "checkbox" });
    case "number":
    case "currency":
      return make("input", { type: "number", step: "any" });
    case "date":
      return make("input", { type: "date" });
    case "textarea":
    case "editor":
      return make("textarea", { rows: "4" });
    case "select":
      return make("select", {}, ...options.map(({ id, name }) => make("option", { value: id }, name)));
    default:
      return make("input", { type: "text", autocomplete: "off" });
  }
}
