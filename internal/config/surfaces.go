package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // the zones, for machines that have none
)

// surfaces are the legacy APIs that exist.
var surfaces = []string{"goodjob", "serendipity"}

var surfaceList = strings.Join(surfaces, ",")

func parseSurfaces(into *[]string, text string) error {
	list, err := items(text, 16)
	if err != nil {
		return err
	}
	for _, name := range list {
		if !slices.Contains(surfaces, name) {
			return fmt.Errorf("has %s; known: %s", quote(name), strings.Join(surfaces, ", "))
		}
	}
	*into = list
	return nil
}

// parseZone refuses the machine's zone, which is another one on every machine.
func parseZone(into **time.Location, text string) error {
	if strings.EqualFold(text, "local") {
		return errors.New("must be an IANA name like Asia/Shanghai; the zone of the machine is none")
	}
	zone, err := time.LoadLocation(text)
	if err != nil {
		return fmt.Errorf("must be an IANA name like Asia/Shanghai or UTC, is %s", quote(text))
	}
	*into = zone
	return nil
}

// classChars are what a PHP class may be called, and its namespaces.
const classChars = `ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_\`

// parseClasses reads "Class=kind" pairs. Whether there is such a kind is found when a task of it is submitted.
func parseClasses(into *map[string]string, text string) error {
	list, err := items(text, 256)
	if err != nil {
		return err
	}
	table := make(map[string]string, len(list))
	for _, pair := range list {
		class, kind, ok := strings.Cut(pair, "=")
		class, kind = strings.TrimLeft(strings.TrimSpace(class), `\`), strings.TrimSpace(kind)
		switch {
		case !ok || class == "" || strings.Trim(class, classChars) != "":
			return fmt.Errorf("has %s, which is no Class=kind", quote(pair))
		case len(kind) < 1 || len(kind) > 64 || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "":
			return fmt.Errorf("has the kind %s, which is not 1 to 64 of a-z, 0-9 and . _ -", quote(kind))
		case table[class] != "":
			return fmt.Errorf("has %s twice", quote(class))
		}
		table[class] = kind
	}
	*into = table
	return nil
}
