//! Every scenario by its name.

use super::{Scenario, table};

/// Calls another macro with the names of all scenarios, in their groups.
///
/// ```
/// macro_rules! count {
///     ($($group:ident { $($scenario:ident)* })*) => {
///         [$($(concat!(stringify!($group), "::", stringify!($scenario)),)*)*].len()
///     };
/// }
/// assert_eq!(portolan_testkit::every_scenario!(count), portolan_testkit::scenario::all().len());
/// ```
#[macro_export]
macro_rules! every_scenario {
    ($each:ident) => {
        $each! {
            internal_policy {
                cluster_leads_everybody_to_every_endpoint
                local_leads_everybody_to_the_only_endpoint_here
                local_leads_everybody_to_all_endpoints_here
                local_leaves_external_addresses_alone
                local_drops_where_no_endpoint_is_here
                local_refuses_once_no_endpoint_is_anywhere
                cluster_turns_local_and_back
                local_follows_endpoints_that_come_and_go_here
            }
            external_policy {
                local_leads_clients_to_endpoints_here_and_shows_them_as_they_are
                local_leads_pods_to_every_endpoint_and_shows_them_as_they_are
                local_leads_the_node_to_every_endpoint_by_its_own_address
                local_leaves_the_cluster_ip_alone
                local_drops_clients_where_no_endpoint_is_here
                local_takes_pods_for_clients_where_nothing_tells_them
                local_drops_pods_too_where_nothing_tells_them_and_no_endpoint_is_here
                local_refuses_once_no_endpoint_is_anywhere
                local_turns_cluster_and_back
                local_follows_endpoints_that_come_and_go_here
                local_goes_with_internal_local
                local_means_nothing_without_an_external_address
            }
            terminating {
                new_connections_go_to_those_that_stay
                endpoints_that_still_serve_are_used_when_none_is_ready
                internal_local_falls_back_to_those_here_though_others_are_ready
                internal_local_prefers_ready_ones_here
                external_local_falls_back_to_those_here_though_others_are_ready
                external_local_prefers_ready_ones_here
                those_of_other_nodes_serve_under_cluster_but_not_under_local
                nobody_is_used_who_neither_is_ready_nor_serves
                connections_are_refused_once_the_last_has_ended
                a_new_pod_takes_over_from_one_that_ends
                one_that_is_ready_all_the_same_is_used_like_any_other
            }
            unserved {
                a_service_without_endpoints_refuses_everybody_everywhere
                a_service_without_slices_refuses_everybody_everywhere
                refusals_end_with_the_first_endpoint_and_begin_after_the_last
                another_port_of_a_cluster_ip_is_refused
                another_port_of_a_cluster_ip_without_endpoints_is_refused
                another_port_of_an_external_address_is_left_alone
                an_unallocated_service_address_is_dropped
                an_unallocated_address_is_left_alone_while_no_service_cidr_is_known
                drops_follow_the_service_cidrs
                a_deleted_service_leaves_its_addresses_alone
                a_deleted_service_gives_its_cluster_ip_back_to_the_service_cidr
            }
            masquerade {
                matrix_on_a_node_that_tells_pods
                matrix_on_a_node_that_tells_nobody
                matrix_with_masquerade_all_on_a_node_that_tells_pods
                matrix_with_masquerade_all_on_a_node_that_tells_nobody
                a_pod_that_is_asked_directly_sees_who_asks
            }
            detection {
                cluster_cidr_tells_pods_by_their_address
                cluster_cidr_of_other_addresses_takes_pods_for_others
                no_cluster_cidr_detects_no_pods
                node_cidr_tells_pods_by_the_pod_cidrs_of_the_node
                node_cidr_follows_the_node
                services_that_clients_stay_with_follow_the_node_too
                interface_name_prefix_tells_pods_by_their_cable
                another_interface_name_prefix_takes_pods_for_others
                bridge_interface_tells_pods_by_their_bridge
                another_bridge_interface_takes_pods_for_others
                cluster_cidr_tells_pods_on_a_bridge
            }
            topology {
                endpoints_for_this_zone_are_preferred
                endpoints_for_this_node_are_preferred
                without_one_for_this_node_those_for_this_zone_are_used
                one_that_no_node_is_named_for_leaves_the_choice_to_zones
                one_that_no_zone_is_named_for_makes_all_eligible
                without_one_for_this_zone_all_are_used
                a_node_without_a_zone_uses_all
                hints_of_endpoints_that_are_not_ready_do_not_count
                terminating_endpoints_are_used_whatever_their_hints
                the_zone_of_the_node_is_followed
                an_endpoint_that_goes_takes_the_preference_with_it
                local_policies_do_not_ask_for_hints
                a_local_policy_drops_although_a_near_endpoint_is_elsewhere
            }
            ranges {
                a_client_in_a_range_gets_through
                everybody_else_is_dropped_pods_and_the_node_too
                only_load_balancer_addresses_are_guarded
                all_load_balancer_addresses_are_guarded
                outsiders_are_dropped_also_where_others_are_refused
                ranges_hold_under_the_local_policy_before_pods_get_their_short_cut
                a_range_of_pods_lets_pods_in
                several_ranges_add_up
                a_range_of_all_addresses_lets_everybody_in
                ranges_of_one_family_leave_the_other_open
                ranges_are_followed
                the_node_gets_through_by_an_address_in_a_range
                the_node_gets_through_by_the_load_balancer_address_where_a_range_has_the_node
                the_node_is_dropped_by_the_load_balancer_address_where_no_range_has_the_node
                ranges_follow_the_address_of_the_node
                a_range_with_loopback_stands_for_a_node_that_is_not_known
            }
            node_ports {
                without_ranges_every_address_answers_but_loopback
                only_addresses_within_the_ranges_answer
                a_second_address_within_the_ranges_answers
                an_address_that_comes_later_answers_if_it_is_within_the_ranges
                ranges_of_one_family_leave_the_other_open
                loopback_does_not_answer_though_the_ranges_hold_it
                primary_is_the_addresses_of_the_node_object
                primary_follows_the_node_object
                a_node_port_without_endpoints_is_refused_only_where_it_would_answer
                a_local_policy_drops_only_where_the_node_port_would_answer
            }
            ports {
                each_protocol_on_one_port_has_endpoints_of_its_own
                one_protocol_may_lack_endpoints_while_another_has_them
                a_port_of_one_protocol_is_no_port_of_another
                a_node_port_of_one_protocol_is_no_node_port_of_another
                a_second_protocol_may_join_a_node_port
                every_port_of_a_service_has_its_own_endpoints
                several_node_ports_of_a_service_lead_to_their_own_ports
                slices_may_give_one_port_different_numbers
                several_slices_add_up_and_go_one_by_one
                slices_that_name_an_endpoint_twice_make_it_one
                a_running_pod_wins_over_one_that_had_its_address
                a_service_of_one_family_answers_in_that_family_only
                an_address_of_the_node_goes_before_a_node_port_of_another_service
                a_changed_target_port_is_followed
                one_service_does_not_answer_for_another
                two_services_may_share_endpoints
            }
            hairpin {
                a_pod_reaches_itself_by_every_address
                a_pod_on_a_bridge_reaches_itself_by_every_address
                a_pod_reaches_itself_and_others
                a_pod_on_a_bridge_reaches_itself_and_its_neighbours
                a_pod_reaches_itself_under_local_policies
                a_pod_on_a_bridge_reaches_itself_under_local_policies
                a_pod_reaches_itself_where_nothing_tells_pods
                a_pod_on_a_bridge_reaches_itself_where_nothing_tells_pods
                a_pod_that_no_slice_places_reaches_itself
                a_terminating_pod_reaches_itself_while_none_is_ready
            }
            host_network {
                everybody_reaches_a_program_on_the_node
                a_program_on_the_node_and_pods_share_a_service
                a_program_on_the_node_is_an_endpoint_here
                a_program_on_the_node_reaches_itself
                everybody_on_a_bridge_reaches_a_program_on_the_node
            }
            lifecycle {
                a_service_may_come_before_its_endpoints
                endpoints_may_come_before_their_service
                a_service_that_goes_and_comes_back_is_served_again
                a_service_whose_type_changes_answers_as_its_type_says
                addresses_that_a_service_loses_are_left_alone
                a_load_balancer_needs_no_node_port
                a_load_balancer_that_is_a_proxy_keeps_its_traffic
                a_service_that_moves_to_other_addresses_answers_there_only
                endpoints_that_change_are_followed_one_by_one
                an_endpoint_that_moves_to_another_node_is_no_longer_local
                an_address_that_a_service_gives_up_serves_the_next
            }
            affinity {
                a_client_stays_with_its_endpoint_by_all_addresses_alike
                a_client_stays_with_its_endpoint_by_the_cluster_ip
                a_client_stays_with_its_endpoint_by_the_node_port
                a_client_stays_with_its_endpoint_by_the_load_balancer_address
                clients_do_not_influence_each_other
                fifty_clients_stay_through_a_hundred_connections_each
                families_do_not_influence_each_other
                ports_of_a_service_do_not_influence_each_other
                clients_of_an_endpoint_that_goes_get_another_and_the_rest_stay
                clients_stay_when_endpoints_join
                clients_leave_an_endpoint_that_terminates
                clients_are_refused_when_all_endpoints_go_and_served_when_one_comes
                affinity_can_be_turned_off_and_on
                under_the_external_local_policy_clients_stay_with_an_endpoint_here
                under_the_internal_local_policy_pods_stay_with_an_endpoint_here
                an_endpoint_that_a_policy_rules_out_is_not_used_though_it_is_remembered
                an_endpoint_elsewhere_is_not_used_by_a_local_cluster_ip_though_it_is_remembered
                the_node_stays_with_its_endpoint
                clients_that_stay_are_masqueraded_like_others
                a_pod_stays_with_itself
                clients_stay_where_endpoints_serve_on_different_ports
                clients_stay_under_a_local_policy_where_endpoints_serve_on_different_ports
                clients_get_another_endpoint_when_all_change_their_port
                a_policy_that_changes_takes_clients_away_from_what_it_rules_out
                ranges_guard_a_service_that_clients_stay_with
                a_client_is_forgotten_when_its_time_is_over
                every_connection_starts_the_time_anew
                a_changed_time_is_followed
            }
        }
    };
}

/// A scenario with its name.
#[derive(Debug, Clone)]
pub struct Named {
    /// `group::scenario`; stable, and a sentence about what holds.
    pub name: &'static str,
    /// The scenario.
    pub scenario: Scenario,
}

macro_rules! name_all {
    ($($group:ident { $($scenario:ident)* })*) => {
        vec![$($(Named {
            name: concat!(stringify!($group), "::", stringify!($scenario)),
            scenario: table::$group::$scenario(),
        },)*)*]
    };
}

/// All scenarios, in the order of the table.
pub fn all() -> Vec<Named> {
    every_scenario!(name_all)
}

/// The scenario of this name.
///
/// # Panics
/// There is none.
pub fn named(name: &str) -> Named {
    let found = all().into_iter().find(|named| named.name == name);
    found.unwrap_or_else(|| panic!("no scenario is called {name}"))
}
