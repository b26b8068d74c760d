/* The things that the tests of one file share: a loop, and one real server or two sides of a
 * copy. */
#ifndef LONGHAUL_TESTS_FIXTURE_H
#define LONGHAUL_TESTS_FIXTURE_H

#include "copy/plan.h"
#include "net/loop.h"
#include "server/deployment.h"
#include "support/redis_process.h"

extern struct loop *loop;
extern struct redis_process server, source, target;
extern struct redis_process other_node; /* the second node of the source, where that is a cluster */

/* For cmocka_run_group_tests(): one empty server. The end fails the group when a block of input is
 * still held. */
int fixture_start_server(void **state);
int fixture_stop_server(void **state);

/* Settings of a client of that server, which connects again after a loss. */
struct client_settings fixture_client_settings(void);

/* Like fixture_start_server() with two empty servers, source and target. */
int fixture_start_sides(void **state);
int fixture_stop_sides(void **state);

/* The same, but the source is a cluster of two; `other_node` has the highest slot alone. */
int fixture_start_cluster_source(void **state);
int fixture_stop_cluster_source(void **state);

/* Opens both servers; the caller frees the deployments. */
void fixture_open_sides(struct deployment *sides[2]);

/* A plan for one lane between the sides, with every feature of redis 7.0 except DUMP; no callbacks.
 * The caller frees plan.giveup. */
struct copy_plan fixture_plan(struct deployment *const sides[2]);

#endif
