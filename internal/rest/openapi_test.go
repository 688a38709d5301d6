package rest

import (
	"regexp"
	"slices"
	"testing"

	"github.com/taskweir/taskweir/internal/openapi"
)

// The document has an operation for every route, with the query parameters that it takes, and none for others. That it says the truth
// about them is the contract test's, in package openapi.
func TestTheDocumentHasEveryRoute(t *testing.T) {
	said := map[string]openapi.Operation{}
	for _, o := range openapi.Operations() {
		if o.Tag != "Operations" {
			said[o.Method+" "+o.Path] = o
		}
	}
	param := regexp.MustCompile(`:(\w+)`)
	for _, r := range (&api{}).routes() {
		name := r.method + " " + param.ReplaceAllString(r.path, "{$1}")
		o, ok := said[name]
		delete(said, name)
		if !ok {
			t.Errorf("internal/openapi has no operation for %s", name)
			continue
		}
		if takes := slices.Sorted(slices.Values(r.query)); !slices.Equal(slices.Sorted(slices.Values(o.Query)), takes) {
			t.Errorf("%s takes %v, its operation in internal/openapi says %v", name, takes, o.Query)
		}
	}
	for name := range said {
		t.Errorf("internal/openapi has an operation %s, which is no route", name)
	}
}
