package openapi

import (
	"encoding/json"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// The document is a valid OpenAPI 3.1 document for a library that others read it with.
func TestTheDocumentIsValid(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(JSON())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.EnableMultiError()); err != nil {
		t.Error(err)
	}
	var plain struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(JSON(), &plain); err != nil || plain.OpenAPI != "3.1.0" {
		t.Errorf("version %q, %v", plain.OpenAPI, err)
	}
	n := 0
	for _, p := range plain.Paths {
		n += len(p)
	}
	if n != len(Operations()) {
		t.Errorf("the document has %d operations, the table %d", n, len(Operations()))
	}
}
