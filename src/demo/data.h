/* Real data for the demo: the records of this machine's package manager (dpkg), as keys of every
 * type.
 *
 *   package:NAME     hash     the fields of its record
 *   about:NAME       string   its description
 *   depends:NAME     set      the packages that it needs
 *   files:NAME       list     its files, in order
 *   section:NAME     zset     packages by installed size
 *   folder:PATH      set      the files of a folder
 *   maintainer:NAME  set      packages
 *   sum:PATH         string   MD5 sum of a file, some expire
 *   installed        stream   packages in the order of the file; a consumer group has read some
 */
#ifndef LONGHAUL_DEMO_DATA_H
#define LONGHAUL_DEMO_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "demo/feeder.h"

/* Is there such a database on this machine? */
bool demo_data_is_there(void);

/* Writes at most max_keys keys. False with feeder->err set when the server could not take them. */
bool demo_data_write(struct feeder *feeder, uint64_t max_keys);

#endif
