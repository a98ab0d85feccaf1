// Addresses are relative to the page, so that it works below a prefix of a proxy too.
window.reference = SwaggerUIBundle({
  dom_id: "#reference",
  url: "openapi.json",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null, // it would ask somebody else
});
