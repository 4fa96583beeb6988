// The service's OpenAPI description, for people. No library: it is a list of routes and their fields.
import { getJson } from "./api.js";
import { make } from "./make.js";

const kindOf = (schema) => schema.type || (schema.anyOf || schema.oneOf || []).map(kindOf).join(" or ")
  || (schema.$ref || "").split("/").pop() || (schema.enum || [schema.const]).filter((v) => v !== undefined).join(", ");
function fieldsOf(schema, described) {
  const own = schema.$ref ? described.components.schemas[schema.$ref.split("/").pop()] : schema;
  const rows = Object.entries(own.properties || {}).map(([name, field]) =>
    [make("dt", { text: name }), make("dd", { text: [kindOf(field), field.description].filter(Boolean).join(": ") })]);
  return make("dl", { class: "facts" }, ...rows.flat());
}

const described = await getJson("/openapi.json");
for (const [path, methods] of Object.entries(described.paths)) {
  for (const [method, route] of Object.entries(methods)) {
    if (method === "head") continue;
    const body = Object.entries(route.requestBody?.content || {});
    const reply = route.responses["200"]?.content?.["application/json"]?.schema;
    document.getElementById("routes").append(make("details", {},
      make("summary", { text: `${method.toUpperCase()} ${path}` }), make("p", { text: route.description || route.summary }),
      ...body.flatMap(([kind, content]) => [make("p", { class: "soft", text: `Body: ${kind}` }), fieldsOf(content.schema, described)]),
      reply && make("p", { class: "soft", text: "Reply" }), reply && fieldsOf(reply, described)));
  }
}
