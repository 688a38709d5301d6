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
var surfaces = []string{"goodjob"}

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
